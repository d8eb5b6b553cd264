"""Padding with a constant, or with what is there already."""

from __future__ import annotations

import numpy as np

from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.values import Secret, Value

_MODES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}  # ONNX's names and numpy's


def _pad(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.secret(at(inputs, 0))
    rank = len(x.shape)
    pads = layer.integers(at(inputs, 1), "the pads")
    listed = at(inputs, 3)
    axes = layer.op.normal(
        range(rank) if listed is None else layer.integers(listed, "the axes"), rank
    )
    if len(pads) != 2 * len(axes) or any(abs(p) > 1 << 20 for p in pads):
        raise layer.refuse(f"the pads {pads[:8]} do not fit {len(axes)} axes")
    before, after = [0] * rank, [0] * rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = pads[place], pads[place + len(axes)]
    x = _cut(layer, x, before, after)
    more = [max(p, 0) for p in before], [max(p, 0) for p in after]
    mode = layer.op.text("mode", "constant")
    if mode == "constant":
        value = 0.0 if at(inputs, 2) is None else layer.scalar(at(inputs, 2), "the value")
        name = layer.b.pad(layer.op.name, x.name, *more, value=_public(layer, value))
        return [layer.made(name, x)]
    if mode not in _MODES:
        raise layer.refuse(f"mode={mode!a} is not supported")
    for axis, (first, last) in enumerate(zip(*more, strict=True)):
        if first or last:
            if mode == "reflect" and x.shape[axis] == 1:
                raise layer.refuse("cannot reflect an axis of size 1")
            places = np.pad(np.arange(x.shape[axis]), (first, last), mode=_MODES[mode])  # type: ignore[call-overload]
            x = layer.gather(x, axis, places.tolist())
    return [x]


def _cut(layer: Layer, x: Secret, before: list[int], after: list[int]) -> Secret:
    """Negative pads take away."""
    starts = [max(-p, 0) for p in before]
    sizes = [d - s - max(-p, 0) for d, s, p in zip(x.shape, starts, after, strict=True)]
    if any(size < 1 for size in sizes):
        raise layer.refuse("its negative pads leave nothing")
    return layer.slice(x, starts, sizes, [1] * len(sizes))


def _public(layer: Layer, value: float) -> float:
    if not abs(value) < 1 << 15:
        raise layer.refuse(
            f"pads with {value:g}; values must stay below 32768 (before a max pooling use its own "
            "padding)"
        )
    return value


READERS = {"Pad": Reader(_pad, ("mode",), constants=(1, 2, 3))}
