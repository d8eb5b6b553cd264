"""Operators that move values, or know their shapes: no arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.shapes import (
    broadcast,
    reshaped,
    slices,
    split_sizes,
    squeezed,
    unsqueezed,
)
from libmpc.graph.onnx.tensors import dtype_of
from libmpc.graph.onnx.values import Secret, Value


def _list(layer: Layer, inputs: Inputs, place: int, what: str) -> tuple[int, ...] | None:
    value = at(inputs, place)
    return None if value is None else layer.integers(value, what)


def _reshape(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    wanted = layer.integers(at(inputs, 1), "the shape")
    return [layer.reshape(x, reshaped(layer.op, x.shape, wanted))]


def _flatten(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    axis = layer.op.integer("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    if not 0 <= axis <= len(x.shape):
        raise layer.refuse(f"the axis {axis} does not fit {x.shape}")
    return [layer.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))]


def _transpose(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    rank = len(x.shape)
    order = layer.op.integers("perm")
    return [layer.transpose(x, range(rank)[::-1] if order is None else order)]


def _squeeze(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    return [layer.reshape(x, squeezed(layer.op, x.shape, _list(layer, inputs, 1, "axes")))]


def _unsqueeze(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    axes = layer.integers(at(inputs, 1), "axes")
    return [layer.reshape(x, unsqueezed(layer.op, x.shape, axes))]


def _concat(layer: Layer, inputs: Inputs) -> list[Value]:
    witness = next(value for value in inputs if isinstance(value, Secret))
    axis = layer.op.axis(0, len(witness.shape))
    parts = []
    for place, value in enumerate(inputs):
        if isinstance(value, Secret):
            parts.append(value)
            continue
        constant = layer.floats(value, f"input {place}")
        if constant.size:
            parts.append(layer.known(constant, witness))
    made = layer.concat(parts, axis)
    return [replace(made, integer=witness.integer)]


def _split(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    axis = layer.op.axis(0, len(x.shape))
    sizes = split_sizes(layer.op, x.shape[axis], _list(layer, inputs, 1, "the sizes"))
    made: list[Value] = []
    start = 0
    for size in sizes:
        if size:
            made.append(layer.cut(x, axis, start, size))
        else:
            made.append(np.zeros((*x.shape[:axis], 0, *x.shape[axis + 1 :]), np.float32))
        start += size
    return made


def _slice(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    names = ("starts", "ends", "axes", "steps")
    lists = [_list(layer, inputs, i, name) for i, name in enumerate(names, 1)]
    starts, sizes, strides = slices(layer.op, x.shape, *lists)
    if 0 in sizes:
        return [np.zeros(sizes, np.float32)]
    return [layer.slice(x, starts, sizes, strides)]


def _gather(layer: Layer, inputs: Inputs) -> list[Value]:
    if isinstance(at(inputs, 1), Secret):
        raise layer.refuse(
            "picks places that depend on the input (an embedding, for example), which would show "
            "them; give the model one-hot vectors and a dense layer instead"
        )
    x = layer.secret(at(inputs, 0), "the data")
    places = layer.constant(at(inputs, 1), "the indices")
    axis = layer.op.axis(0, len(x.shape))
    size = x.shape[axis]
    if places.dtype.kind not in "iu" or places.size > 1 << 20:
        raise layer.refuse("the indices are not a short list of integers")
    wanted = [int(i) + size if i < 0 else int(i) for i in places.ravel()]
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])
    if any(not 0 <= i < size for i in wanted):
        raise layer.refuse(f"an index is outside of the axis of size {size}")
    if not wanted:
        return [np.zeros(shape, np.float32)]
    return [layer.reshape(layer.gather(x, axis, wanted), shape)]


def _expand(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    wanted = layer.integers(at(inputs, 1), "the shape")
    if any(d < 1 for d in wanted):
        raise layer.refuse(f"the shape {wanted[:8]} has sizes below 1")
    return [layer.expand(x, broadcast(layer.op, x.shape, wanted))]


def _tile(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    times = layer.integers(at(inputs, 1), "the repeats")
    if len(times) != len(x.shape) or any(t < 1 for t in times):
        raise layer.refuse(f"the repeats {times[:8]} do not fit {x.shape}")
    for axis, count in enumerate(times):
        x = layer.repeat(x, axis, count, each=False)
    return [x]


def _blocks(layer: Layer, x: Secret) -> tuple[int, tuple[int, int, int, int]]:
    size = layer.op.integer("blocksize", 0)
    if len(x.shape) != 4 or size < 1:
        raise layer.refuse(
            f"needs images (batch, channels, height, width), its input has {x.shape}"
        )
    n, c, h, w = x.shape
    return size, (n, c, h, w)


def _depth_to_space(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    s, (n, c, h, w) = _blocks(layer, x)
    if c % (s * s):
        raise layer.refuse(f"{c} channels are no multiple of {s * s}")
    mode = layer.op.text("mode", "DCR")
    if mode not in ("DCR", "CRD"):
        raise layer.refuse(f"mode={mode!a} is neither DCR nor CRD")
    d = c // (s * s)
    if mode == "DCR":
        apart = layer.transpose(layer.reshape(x, (n, s, s, d, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        apart = layer.transpose(layer.reshape(x, (n, d, s, s, h, w)), (0, 1, 4, 2, 5, 3))
    return [layer.reshape(apart, (n, d, h * s, w * s))]


def _space_to_depth(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    s, (n, c, h, w) = _blocks(layer, x)
    if h % s or w % s:
        raise layer.refuse(f"an image of {h}×{w} is not made of blocks of {s}×{s}")
    if layer.op.text("mode", "DCR") == "CRD":
        order: tuple[int, ...] = (0, 1, 3, 5, 2, 4)
    else:
        order = (0, 3, 5, 1, 2, 4)
    apart = layer.transpose(layer.reshape(x, (n, c, h // s, s, w // s, s)), order)
    return [layer.reshape(apart, (n, c * s * s, h // s, w // s))]


def _identity(layer: Layer, inputs: Inputs) -> list[Value]:
    return [layer.secret(at(inputs, 0))]


def _dropout(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    training = at(inputs, 2)
    ratio = 0.5 if at(inputs, 1) is None else layer.scalar(at(inputs, 1), "the ratio")
    if training is not None and layer.scalar(training, "training_mode") and ratio:
        raise layer.refuse("is in training mode; export the model for inference: model.eval()")
    return [x, np.ones(x.shape, np.bool_)]


def _cast_to(layer: Layer, x: Secret, kind: np.dtype[np.generic]) -> list[Value]:
    if kind.kind in "iub" and not x.integer and not (x.tail and x.tail.kind == "argmax"):
        raise layer.refuse(
            f"rounds to {kind}, which is possible only at the very end; remove it from the model"
        )
    return [replace(x, integer=kind.kind in "iu")]


def _cast(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    to = layer.op.integer("to", TensorProto.UNDEFINED)
    return _cast_to(layer, x, dtype_of(to, f"layer {layer.op.name!r}"))


def _cast_like(layer: Layer, inputs: Inputs) -> list[Value]:
    target = at(inputs, 1)
    if isinstance(target, Secret):
        kind = np.dtype(np.int64 if target.integer else np.float32)
    else:
        kind = layer.constant(target, "the target").dtype
    x = at(inputs, 0)
    if x is not None and not isinstance(x, Secret):
        return [x.astype(kind)]
    return _cast_to(layer, layer.secret(at(inputs, 0)), kind)


def _shape(layer: Layer, inputs: Inputs) -> list[Value]:
    shape = layer.secret(at(inputs, 0)).shape
    part = shape[layer.op.integer("start", 0) : layer.op.integer("end", len(shape))]
    return [np.asarray(part, np.int64)]


def _size(layer: Layer, inputs: Inputs) -> list[Value]:
    return [np.asarray(math.prod(layer.secret(at(inputs, 0)).shape), np.int64)]


def _passing(read: Callable[[Layer, Inputs], list[Value]], *attributes: str) -> Reader:
    return Reader(read, attributes, after_tail=True)


READERS = {
    "Cast": _passing(_cast, "to", "saturate", "round_mode"),
    "CastLike": Reader(_cast_like, ("saturate", "round_mode"), after_tail=True),
    "Concat": Reader(_concat, ("axis",)),
    "DepthToSpace": Reader(_depth_to_space, ("blocksize", "mode")),
    "Dropout": Reader(_dropout, ("seed",), constants=(1, 2), after_tail=True),
    "Expand": Reader(_expand, constants=(1,)),
    "Flatten": Reader(_flatten, ("axis",), reshapes=True),
    "Gather": Reader(_gather, ("axis",), constants=(1,)),
    "Identity": _passing(_identity),
    "Reshape": Reader(_reshape, ("allowzero",), constants=(1,), reshapes=True),
    "Shape": _passing(_shape, "start", "end"),
    "Size": _passing(_size),
    "Slice": Reader(_slice, constants=(1, 2, 3, 4)),
    "SpaceToDepth": Reader(_space_to_depth, ("blocksize", "mode")),
    "Split": Reader(_split, ("axis", "num_outputs"), constants=(1,)),
    "Squeeze": Reader(_squeeze, constants=(1,), reshapes=True),
    "Tile": Reader(_tile, constants=(1,)),
    "Transpose": Reader(_transpose, ("perm",)),
    "Unsqueeze": Reader(_unsqueeze, constants=(1,), reshapes=True),
}
