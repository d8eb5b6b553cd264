"""Sums, products, comparisons and piecewise-linear functions, value by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from libmpc.graph import activations
from libmpc.graph.nodes import Floats
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.shapes import broadcast
from libmpc.graph.onnx.values import Secret, Value

_BEYOND = 2.0**31  # no value can be outside of such a bound


def _operands(layer: Layer, inputs: Inputs) -> list[Secret | Floats]:
    """All inputs: secrets repeated into the common shape, constants as they are."""
    found: list[Secret | Floats] = []
    for place, value in enumerate(inputs):
        what = f"input {place}"
        found.append(value if isinstance(value, Secret) else layer.floats(value, what))
    shape = broadcast(layer.op, *(value.shape for value in found))
    return [layer.expand(v, shape) if isinstance(v, Secret) else v for v in found]


def _like(layer: Layer, value: Secret, operands: list[Secret | Floats]) -> list[Value]:
    """The result is an integer where all secrets are."""
    kinds = [v.integer for v in operands if isinstance(v, Secret)]
    return [replace(value, integer=all(kinds))]


def _sum(layer: Layer, operands: list[Secret | Floats], signs: list[int]) -> Secret:
    secrets = [(v, s) for v, s in zip(operands, signs, strict=True) if isinstance(v, Secret)]
    total = secrets[0][0]
    if len(secrets) > 1 or secrets[0][1] != 1:
        total = layer.add([v for v, _ in secrets], [s for _, s in secrets])
    constants = [v * s for v, s in zip(operands, signs, strict=True) if not isinstance(v, Secret)]
    if constants:
        offset: Floats = np.asarray(sum(constants))
        total = layer.scale(total, 1.0, offset)
    return total


def _add(layer: Layer, inputs: Inputs) -> list[Value]:
    operands = _operands(layer, inputs)
    return _like(layer, _sum(layer, operands, [1] * len(operands)), operands)


def _sub(layer: Layer, inputs: Inputs) -> list[Value]:
    operands = _operands(layer, inputs)
    return _like(layer, _sum(layer, operands, [1, -1]), operands)


def _mean(layer: Layer, inputs: Inputs) -> list[Value]:
    for value in inputs:
        if isinstance(value, Secret):
            layer.real(value)
    operands = _operands(layer, inputs)
    total = _sum(layer, operands, [1] * len(operands))
    return [total if len(operands) == 1 else layer.scale(total, 1.0 / len(operands))]


def _mul(layer: Layer, inputs: Inputs) -> list[Value]:
    operands = _operands(layer, inputs)
    x, y = operands
    if isinstance(x, Secret) and isinstance(y, Secret):
        name = layer.b.multiply(layer.op.name, x.name, y.name)
        return _like(layer, layer.made(name, x, x.shape), operands)
    secret, factor = (x, y) if isinstance(x, Secret) else (y, x)
    return _like(layer, layer.scale(layer.secret(secret), factor), operands)


def _div(layer: Layer, inputs: Inputs) -> list[Value]:
    if isinstance(at(inputs, 1), Secret):
        raise layer.refuse(
            "divides by a value that depends on the input, which has no exact fixed-point form; "
            "divide by a constant"
        )
    layer.real(at(inputs, 0), "the dividend")
    x, divisor = _operands(layer, inputs)
    assert not isinstance(divisor, Secret)
    if not divisor.all():
        raise layer.refuse("divides by zero")
    return [layer.scale(layer.secret(x if isinstance(x, Secret) else None), 1.0 / divisor)]


def _neg(layer: Layer, inputs: Inputs) -> list[Value]:
    return [layer.add([layer.secret(at(inputs, 0))], [-1])]


def _larger(layer: Layer, x: Secret, y: Secret | Floats) -> Secret:
    if isinstance(y, Secret):
        return layer.made(layer.b.maximum(layer.op.name, x.name, y.name), x, x.shape)
    rest = layer.b.relu(layer.op.name, layer.scale(x, 1.0, -y).name)
    return layer.scale(layer.made(rest, x, x.shape), 1.0, y)


def _smaller(layer: Layer, x: Secret, y: Secret | Floats) -> Secret:
    if isinstance(y, Secret):
        return layer.made(layer.b.minimum(layer.op.name, x.name, y.name), x, x.shape)
    rest = layer.b.relu(layer.op.name, layer.scale(x, -1.0, y).name)
    return layer.scale(layer.made(rest, x, x.shape), -1.0, y)


def _extreme(
    pick: Callable[[Layer, Secret, Secret | Floats], Secret],
) -> Callable[[Layer, Inputs], list[Value]]:
    def read(layer: Layer, inputs: Inputs) -> list[Value]:
        operands = _operands(layer, inputs)
        first = next(v for v in operands if isinstance(v, Secret))
        found = first
        for other in operands:
            if other is not first:
                found = pick(layer, found, other)
        return _like(layer, found, operands)

    return read


def _through(make: Callable[[Layer, str], str]) -> Callable[[Layer, Inputs], list[Value]]:
    """A reader of an operator with one input, whose result is an integer if the input is."""

    def read(layer: Layer, inputs: Inputs) -> list[Value]:
        x = layer.secret(at(inputs, 0))
        return [layer.made(make(layer, x.name), x, x.shape)]

    return read


def _real(make: Callable[[Layer, str], str]) -> Callable[[Layer, Inputs], list[Value]]:
    """A reader of an operator with one input, which must not be an integer."""

    def read(layer: Layer, inputs: Inputs) -> list[Value]:
        x = layer.real(at(inputs, 0))
        return [layer.made(make(layer, x.name), x, x.shape)]

    return read


def _relu(layer: Layer, x: str) -> str:
    return layer.b.relu(layer.op.name, x)


def _abs(layer: Layer, x: str) -> str:
    return activations.absolute(layer.b, layer.op.name, x)


def _sign(layer: Layer, x: str) -> str:
    return layer.b.sign(layer.op.name, x)


def _leaky_relu(layer: Layer, x: str) -> str:
    return activations.leaky_relu(layer.b, layer.op.name, x, layer.op.number("alpha", 0.01))


def _hard_sigmoid(layer: Layer, x: str) -> str:
    slope, offset = layer.op.number("alpha", 0.2), layer.op.number("beta", 0.5)
    return activations.hard_sigmoid(layer.b, layer.op.name, x, slope, offset)


def _hard_swish(layer: Layer, x: str) -> str:
    return activations.hard_swish(layer.b, layer.op.name, x)


def _thresholded_relu(layer: Layer, x: str) -> str:
    """x where x > alpha, else 0: relu(x - alpha) + alpha·[x > alpha]."""
    b, name, alpha = layer.b, layer.op.name, layer.op.number("alpha", 1.0)
    over = b.scale(name, x, 1.0, -alpha) if alpha else x
    rest = b.relu(name, over)
    if not alpha:
        return rest
    above = b.relu(name, b.sign(name, over))
    return b.sum_of(name, [rest, b.scale(name, above, alpha)])


def _prelu(layer: Layer, inputs: Inputs) -> list[Value]:
    x, slope = layer.real(at(inputs, 0)), layer.floats(at(inputs, 1), "the slope")
    if broadcast(layer.op, x.shape, slope.shape) != x.shape:
        raise layer.refuse(f"a slope of shape {slope.shape} does not fit {x.shape}")
    name = activations.leaky_relu(layer.b, layer.op.name, x.name, slope)
    return [layer.made(name, x, x.shape)]


def _clip(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    low, high = (
        None if at(inputs, place) is None else layer.scalar(at(inputs, place), what)
        for place, what in ((1, "the lower bound"), (2, "the upper bound"))
    )
    if any(bound is not None and np.isnan(bound) for bound in (low, high)):
        raise layer.refuse("a bound is NaN")
    low = None if low is not None and low <= -_BEYOND else low
    high = None if high is not None and high >= _BEYOND else high
    if any(bound is not None and abs(bound) >= _BEYOND for bound in (low, high)):
        raise layer.refuse("a bound leaves nothing but values that are out of range")
    name = activations.clip(layer.b, layer.op.name, x.name, low, high)
    return [layer.made(name, x, x.shape)]


READERS = {
    "Abs": Reader(_through(_abs)),
    "Add": Reader(_add),
    "Clip": Reader(_clip, constants=(1, 2)),
    "Div": Reader(_div, constants=(1,)),
    "HardSigmoid": Reader(_real(_hard_sigmoid), ("alpha", "beta")),
    "HardSwish": Reader(_real(_hard_swish)),
    "LeakyRelu": Reader(_real(_leaky_relu), ("alpha",)),
    "Max": Reader(_extreme(_larger)),
    "Mean": Reader(_mean),
    "Min": Reader(_extreme(_smaller)),
    "Mul": Reader(_mul),
    "Neg": Reader(_neg),
    "PRelu": Reader(_prelu, constants=(1,)),
    "Relu": Reader(_through(_relu)),
    "Sign": Reader(_through(_sign)),
    "Sub": Reader(_sub),
    "Sum": Reader(_add),
    "ThresholdedRelu": Reader(_real(_thresholded_relu), ("alpha",)),
}
