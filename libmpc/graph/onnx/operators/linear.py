"""Matrix products and batch normalisation with constant weights."""

from __future__ import annotations

import math

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.shapes import broadcast
from libmpc.graph.onnx.values import Secret, Value

_BOTH = (
    "multiplies two matrices that both depend on the input (attention, for example), which is not "
    "supported; one of them must be constant"
)


def dense(layer: Layer, x: Secret, weights: Floats, bias: Floats | None = None) -> Secret:
    """x·W + b over the last axis."""
    if not x.shape or x.shape[-1] != weights.shape[0]:
        raise layer.refuse(f"a value of shape {x.shape} does not fit weights {weights.shape}")
    name = layer.b.dense(layer.op.name, x.name, weights, bias)
    return layer.made(name, x, (*x.shape[:-1], weights.shape[1]))


def _gemm(layer: Layer, inputs: Inputs) -> list[Value]:
    op, a, b, c = layer.op, at(inputs, 0), at(inputs, 1), at(inputs, 2)
    alpha, beta = op.number("alpha", 1.0), op.number("beta", 1.0)
    if isinstance(a, Secret) and isinstance(b, Secret):
        raise layer.refuse(_BOTH)
    turned = [op.flag("transA"), op.flag("transB")]
    # (A·B)ᵀ = Bᵀ·Aᵀ: whichever is secret comes first.
    swap = isinstance(b, Secret)
    if swap:
        a, b, turned = b, a, [not turned[1], not turned[0]]
    if not isinstance(a, Secret):
        raise layer.refuse("only its bias depends on the input, which is not supported")
    weights = layer.floats(b, "the weights")
    x = layer.real(a)
    if len(x.shape) != 2 or weights.ndim != 2:
        raise layer.refuse(f"takes matrices, not {x.shape} and {weights.shape}")
    x = layer.transpose(x, (1, 0)) if turned[0] else x
    weights = alpha * (weights.T if turned[1] else weights)
    simple = None
    if c is not None and not isinstance(c, Secret) and not swap:
        offset = beta * layer.floats(c, "the bias")
        if offset.size in (1, weights.shape[1]) and offset.shape[:-1] in ((), (1,)):
            simple = np.broadcast_to(offset.ravel(), (weights.shape[1],)).copy()
    made = dense(layer, x, weights, simple)
    made = layer.transpose(made, (1, 0)) if swap else made
    if c is None or simple is not None:
        return [made]
    if broadcast(op, made.shape, c.shape) != made.shape:
        raise layer.refuse(f"a bias of shape {c.shape} does not fit {made.shape}")
    if isinstance(c, Secret):
        other = layer.expand(c, made.shape)
        return [layer.add([made, other if beta == 1 else layer.scale(other, beta)])]
    return [layer.scale(made, 1.0, beta * layer.floats(c, "the bias"))]


def _matmul(layer: Layer, inputs: Inputs) -> list[Value]:
    a, b = at(inputs, 0), at(inputs, 1)
    if isinstance(a, Secret) and isinstance(b, Secret):
        raise layer.refuse(_BOTH)
    if isinstance(b, Secret):
        weights, x = layer.floats(a, "the weights"), layer.real(b)
        left = np.swapaxes(weights, -1, -2) if weights.ndim > 1 else weights
        turned = _times(layer, _swap(layer, x) if len(x.shape) > 1 else x, left)
        return [_swap(layer, turned) if weights.ndim > 1 and len(x.shape) > 1 else turned]
    return [_times(layer, layer.real(a), layer.floats(b, "the weights"))]


def _swap(layer: Layer, x: Secret) -> Secret:
    rank = len(x.shape)
    return layer.transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def _times(layer: Layer, x: Secret, weights: Floats) -> Secret:
    """numpy's matmul of a secret and a constant."""
    if not x.shape or not weights.ndim:
        raise layer.refuse("takes no single numbers")
    if weights.ndim == 1:
        made = _times(layer, x, weights[:, np.newaxis])
        return layer.reshape(made, made.shape[:-1])
    if math.prod(weights.shape[:-2]) == 1 and weights.ndim <= max(len(x.shape), 2):
        return dense(layer, x, weights.reshape(weights.shape[-2:]))
    row = len(x.shape) == 1
    if row:
        x = layer.reshape(x, (1, *x.shape))
    made = _batched(layer, x, weights)
    return layer.reshape(made, (*made.shape[:-2], made.shape[-1])) if row else made


def _batched(layer: Layer, x: Secret, weights: Floats) -> Secret:
    """A matrix for each place of the leading axes: the groups of a convolution of 1×1."""
    lead = broadcast(layer.op, x.shape[:-2], weights.shape[:-2])
    (rows, inner), outputs = x.shape[-2:], weights.shape[-1]
    if weights.shape[-2] != inner:
        raise layer.refuse(f"a value of shape {x.shape} does not fit weights {weights.shape}")
    count = math.prod(lead)
    x = layer.reshape(layer.expand(x, (*lead, rows, inner)), (count, rows, inner))
    image = layer.reshape(layer.transpose(x, (1, 0, 2)), (rows, 1, count * inner))
    full = np.broadcast_to(weights, (*lead, inner, outputs)).reshape(count, inner, outputs)
    kernel = full.transpose(1, 0, 2).reshape(1, 1, inner, count * outputs)
    name = layer.b.conv(layer.op.name, image.name, kernel, groups=count)
    made = layer.reshape(layer.made(name, x), (rows, count, outputs))
    return layer.reshape(layer.transpose(made, (1, 0, 2)), (*lead, rows, outputs))


def _batch_normalization(layer: Layer, inputs: Inputs) -> list[Value]:
    """(x - mean)·scale / √(variance + ε) + B, by channel: one factor and one offset."""
    op, x = layer.op, layer.real(at(inputs, 0))
    if op.flag("training_mode"):
        raise layer.refuse(
            "is in training mode, where it normalises by the batch at hand; export the model for "
            "inference: model.eval()"
        )
    names = ("scale", "the bias", "the mean", "the variance")
    scale, bias, mean, variance = (
        layer.floats(at(inputs, i), name) for i, name in enumerate(names, 1)
    )
    channels = x.shape[1] if len(x.shape) > 1 else 1
    if any(v.shape != (channels,) for v in (scale, bias, mean, variance)):
        raise layer.refuse(f"its constants do not have {channels} values each, one for a channel")
    spread = variance + op.number("epsilon", 1e-5)
    if (spread <= 0).any():
        raise layer.refuse("a variance is not positive")
    factor = scale / np.sqrt(spread)
    across = (channels, *(1,) * (len(x.shape) - 2))
    offset = bias - mean * factor
    return [layer.scale(x, factor.reshape(across), offset.reshape(across))]


READERS = {
    "BatchNormalization": Reader(
        _batch_normalization,
        ("epsilon", "momentum", "training_mode", "spatial"),
        constants=(1, 2, 3, 4),
    ),
    "Gemm": Reader(_gemm, ("alpha", "beta", "transA", "transB"), constants=(1,), weights=(2,)),
    "MatMul": Reader(_matmul, constants=(1,)),
}
