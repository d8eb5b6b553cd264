"""Resizing: along every axis a matrix of public numbers, or a choice of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.linear import dense
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.values import Secret, Value

_MOST = 1 << 14
_ROUNDED: dict[str, Callable[[Floats], Floats]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}
_ATTRIBUTES = (
    *("antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside"),
    *("extrapolation_value", "keep_aspect_ratio_policy", "mode", "nearest_mode"),
)


@dataclass(frozen=True)
class _Axis:
    """How one axis is resized.

    Attributes:
        axis: which.
        size: before.
        target: after.
        scale: the factor, which need not be their quotient.
        region: where in the input, from 0 to 1, for ``tf_crop_and_resize``.
    """

    axis: int
    size: int
    target: int
    scale: float
    region: tuple[float, float]


def _resize(layer: Layer, inputs: Inputs) -> list[Value]:
    op, x = layer.op, layer.secret(at(inputs, 0))
    mode = op.text("mode", "nearest")
    if mode not in ("nearest", "linear", "cubic"):
        raise layer.refuse(f"mode={mode!a} is not supported")
    for axis in _axes(layer, x, inputs):
        where = _coordinates(layer, axis)
        if np.array_equal(where, np.arange(axis.size)):
            continue
        if mode == "nearest":
            x = _choose(layer, x, axis, where)
        else:
            x = _blend(layer, layer.real(x), axis, where)
    return [x]


def _axes(layer: Layer, x: Secret, inputs: Inputs) -> list[_Axis]:
    op, rank = layer.op, len(x.shape)
    axes = op.axes("axes", rank) or tuple(range(rank))
    sizes = [x.shape[axis] for axis in axes]
    factors = at(inputs, 2)
    listed = at(inputs, 3)
    if listed is not None:
        targets = list(layer.integers(listed, "the sizes"))
        if len(targets) != len(axes) or min(targets) < 1:
            raise layer.refuse(f"the sizes {targets[:8]} do not fit {len(axes)} axes")
        scales = [target / size for target, size in zip(targets, sizes, strict=True)]
        policy = op.text("keep_aspect_ratio_policy", "stretch")
        if policy in ("not_larger", "not_smaller"):
            scales = [(min if policy == "not_larger" else max)(scales)] * len(axes)
            targets = [int(size * scales[0] + 0.5) for size in sizes]
        elif policy != "stretch":
            raise layer.refuse(f"keep_aspect_ratio_policy={policy!a} is not supported")
    else:
        scales = layer.floats(factors, "the scales").ravel().tolist()
        if len(scales) != len(axes) or min(scales) <= 0 or max(scales) > _MOST:
            raise layer.refuse(f"the scales {scales[:8]} do not fit {len(axes)} axes")
        targets = [int(np.floor(size * scale)) for size, scale in zip(sizes, scales, strict=True)]
    if not all(1 <= target <= _MOST for target in targets):
        raise layer.refuse(f"the sizes {targets[:8]} are not supported: 1 to {_MOST}")
    region = [0.0] * len(axes) + [1.0] * len(axes)
    if op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        region = layer.floats(at(inputs, 1), "the region").ravel().tolist()
        if len(region) != 2 * len(axes):
            raise layer.refuse("the region does not fit the axes")
    ends = zip(region[: len(axes)], region[len(axes) :], strict=True)
    return [_Axis(*each) for each in zip(axes, sizes, targets, scales, ends, strict=True)]


def _coordinates(layer: Layer, a: _Axis) -> Floats:
    """Where in the input every place of the output lies."""
    mode = layer.op.text("coordinate_transformation_mode", "half_pixel")
    place = np.arange(a.target, dtype=np.float64)
    width = a.scale * a.size
    centred = (place + 0.5) / a.scale - 0.5
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and a.target > 1):
        return centred
    if mode == "pytorch_half_pixel":
        return np.full(1, -0.5)
    if mode == "half_pixel_symmetric":
        return centred + a.size / 2 * (1 - a.target / width)
    if mode == "asymmetric":
        return place / a.scale
    if mode == "align_corners":
        return place * ((a.size - 1) / (width - 1) if width != 1 else 0.0)
    if mode == "tf_crop_and_resize":
        first, last = a.region
        span = (last - first) * (a.size - 1)
        steps = place * span / (width - 1) if width != 1 else np.full(a.target, span / 2)
        return np.asarray(first * (a.size - 1) + steps)
    raise layer.refuse(f"coordinate_transformation_mode={mode!a} is not supported")


def _choose(layer: Layer, x: Secret, a: _Axis, where: Floats) -> Secret:
    mode = layer.op.text("nearest_mode", "round_prefer_floor")
    if mode not in _ROUNDED:
        raise layer.refuse(f"nearest_mode={mode!a} is not supported")
    if _outside(layer, a, where).any():
        raise layer.refuse("extrapolates with mode='nearest', which is not supported")
    places = np.clip(_ROUNDED[mode](where), 0, a.size - 1).astype(np.int64)
    return layer.gather(x, a.axis, places.tolist())


def _blend(layer: Layer, x: Secret, a: _Axis, where: Floats) -> Secret:
    matrix = _matrix(layer, a, where)
    outside = _outside(layer, a, where)
    matrix[:, outside] = 0.0
    rank = len(x.shape)
    order = [axis for axis in range(rank) if axis != a.axis] + [a.axis]
    made = dense(layer, layer.transpose(x, order), matrix)
    if outside.any():
        value = layer.op.number("extrapolation_value", 0.0)
        made = layer.scale(made, 1.0, np.where(outside, value, 0.0))
    return layer.transpose(made, np.argsort(order).tolist())


def _outside(layer: Layer, a: _Axis, where: Floats) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    crop = layer.op.text("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    beyond = (where < 0) | (where > a.size - 1)
    return np.asarray(beyond & crop)


def _matrix(layer: Layer, a: _Axis, where: Floats) -> Floats:
    """(size, target): how much of every place of the input is in every place of the output."""
    op = layer.op
    cubic = op.text("mode", "nearest") == "cubic"
    sharp = op.number("cubic_coeff_a", -0.75)
    squeeze = min(a.scale, 1.0) if op.flag("antialias") else 1.0
    reach = int(np.ceil((2 if cubic else 1) / squeeze))
    taps = np.floor(where)[:, np.newaxis] + np.arange(-reach, reach + 2)
    away = np.abs(taps - where[:, np.newaxis]) * squeeze
    parts = _cubic(away, sharp) if cubic else np.maximum(1 - away, 0.0)
    if op.flag("exclude_outside"):
        parts = np.where((taps < 0) | (taps >= a.size), 0.0, parts)
    total = parts.sum(axis=1, keepdims=True)
    if not total.all():
        raise layer.refuse("a place of its result lies too far outside of the input")
    matrix = np.zeros((a.size, a.target))
    rows = np.clip(taps, 0, a.size - 1).astype(np.int64)
    np.add.at(matrix, (rows, np.arange(a.target)[:, np.newaxis]), parts / total)
    return matrix


def _cubic(away: Floats, a: float) -> Floats:
    near = ((a + 2) * away - (a + 3)) * away**2 + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    return np.where(away <= 1, near, np.where(away < 2, far, 0.0))


READERS = {"Resize": Reader(_resize, _ATTRIBUTES, constants=(1, 2, 3))}
