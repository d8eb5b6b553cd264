"""A plan on real numbers, step by step: what its integers stand for, and how far they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.graph import plan as p
from libmpc.graph.lowering import Lowered

Floats = NDArray[np.float64]


def run_plan(lowered: Lowered, x: Floats) -> Floats:
    """One sample through all steps, without any rounding."""
    values: list[Floats] = []
    for index, step in enumerate(lowered.plan.steps):
        sources = [values[source] for source in step.reads]
        constants = lowered.weights.get(index)
        values.append(np.asarray(run_step(step, sources or [x], constants), np.float64))
        assert values[-1].size == step.size
    return values[-1].reshape(lowered.plan.output_shape)


def run_step(
    step: p.Step, sources: list[Floats], constants: tuple[Floats, Floats] | None
) -> Floats:
    """What one step makes of its sources."""
    x = sources[0].reshape(-1)
    if constants is not None:
        return _linear(step, x, *constants)
    if isinstance(step, p.ReluStep | p.RectifyStep):
        return np.maximum(x, 0)
    if isinstance(step, p.PositiveStep):
        return (x > 0).astype(np.float64)
    if isinstance(step, p.ProductStep):
        return x * sources[1].reshape(-1)
    if isinstance(step, p.InputStep | p.OutputStep | p.LiftStep | p.TruncateStep):
        return x
    return _move(step, [source.reshape(-1) for source in sources])


def _linear(step: p.Step, x: Floats, weights: Floats, bias: Floats) -> Floats:
    if isinstance(step, p.DenseStep):
        return x.reshape(step.rows, step.inputs) @ weights + bias
    if isinstance(step, p.ScaleStep):
        return x.reshape(step.shape) * weights + bias
    if isinstance(step, p.BiasStep):
        return x.reshape(step.shape) + bias
    assert isinstance(step, p.ConvStep)
    window = step.window
    kernel = weights.reshape(*window.kernel, window.channels // step.groups, step.filters)
    each = step.filters // step.groups
    made = np.empty((step.images, *window.output_size, step.filters))
    for image, row, column in np.ndindex(made.shape[:3]):
        part = _taken(x.reshape(step.images, -1)[image], window, row, column)
        for group in range(step.groups):
            size = kernel.shape[2]
            mine = slice(group * each, (group + 1) * each)
            channels = part[:, :, group * size : (group + 1) * size]
            made[image, row, column, mine] = np.tensordot(channels, kernel[..., mine], 3)
    return made + bias


def _taken(image: Floats, window: p.Window, row: int, column: int) -> Floats:
    """What a window sees at one place: (kernel height, kernel width, channels)."""
    top, bottom, left, right = window.padding
    whole = image.reshape(window.height, window.width, window.channels)
    whole = np.pad(whole, ((top, bottom), (left, right), (0, 0)))
    rows = row * window.strides[0] + np.arange(window.kernel[0]) * window.dilation[0]
    columns = column * window.strides[1] + np.arange(window.kernel[1]) * window.dilation[1]
    return whole[np.ix_(rows, columns)]


def _move(step: p.Step, sources: list[Floats]) -> Floats:
    x = sources[0]
    if isinstance(step, p.AddStep):
        pairs = zip(sources, step.coefficients, strict=True)
        return np.sum([source * float(c) for source, c in pairs], axis=0)
    if isinstance(step, p.ConcatStep):
        shaped = [s.reshape(shape) for s, shape in zip(sources, step.shapes, strict=True)]
        return np.concatenate(shaped, step.axis)
    if isinstance(step, p.SumPoolStep):
        made = np.empty((step.images, *step.window.output_size, step.window.channels))
        for image, row, column in np.ndindex(made.shape[:3]):
            part = _taken(x.reshape(step.images, -1)[image], step.window, row, column)
            made[image, row, column] = part.sum(axis=(0, 1))
        return made
    x = x.reshape(step.shape)  # type: ignore[union-attr]
    if isinstance(step, p.SumStep):
        return x.sum(axis=step.axes)
    if isinstance(step, p.PermuteStep):
        return x.transpose(step.order)
    if isinstance(step, p.ExpandStep):
        return np.broadcast_to(x, step.target)
    if isinstance(step, p.SliceStep):
        places = zip(step.starts, step.sizes, step.strides, strict=True)
        return x[np.ix_(*(start + stride * np.arange(size) for start, size, stride in places))]
    assert isinstance(step, p.PadStep)
    made = np.full(step.output_shape, step.value / 65536)
    gaps = zip(step.before, x.shape, step.between, strict=True)
    made[np.ix_(*(before + np.arange(dim) * (gap + 1) for before, dim, gap in gaps))] = x
    return made


@dataclass(frozen=True)
class Bound:
    """No value is larger than ``size``, none further than ``error`` from its real number."""

    size: float
    error: float


def error_bounds(lowered: Lowered, largest: float) -> list[Bound]:
    """For every step, for inputs of at most ``largest``: fixed point against real numbers."""
    bounds: list[Bound] = []
    for index, step in enumerate(lowered.plan.steps):
        sources = [bounds[source] for source in step.reads]
        bounds.append(_bound(step, sources, lowered.weights.get(index), largest))
    return bounds


def _bound(
    step: p.Step, sources: list[Bound], constants: tuple[Floats, Floats] | None, largest: float
) -> Bound:
    if isinstance(step, p.InputStep):
        return Bound(largest, 2.0**-17)
    x = sources[0]
    if constants is not None:
        weights, bias = constants
        most = float(np.abs(bias).max())
        if isinstance(step, p.BiasStep):
            return Bound(x.size + most, x.error + 2.0**-33)
        taps = 1 if isinstance(step, p.ScaleStep) else len(weights)
        total = np.abs(weights) if isinstance(step, p.ScaleStep) else np.abs(weights).sum(axis=0)
        gain = float(total.max())
        error = gain * x.error + taps * 2.0**-17 * (x.size + x.error) + 2.0**-33
        return Bound(gain * x.size + most, error)
    if isinstance(step, p.ProductStep):
        y = sources[1]
        return Bound(x.size * y.size, x.size * y.error + y.size * x.error + x.error * y.error)
    if isinstance(step, p.PositiveStep):
        return Bound(1.0, 1.0)
    if isinstance(step, p.ReluStep | p.TruncateStep):
        return Bound(x.size, x.error + 2.0**-16)
    if isinstance(step, p.AddStep):
        pairs = list(zip(sources, map(abs, step.coefficients), strict=True))
        return Bound(sum(s.size * c for s, c in pairs), sum(s.error * c for s, c in pairs))
    if isinstance(step, p.SumPoolStep | p.SumStep):
        if isinstance(step, p.SumStep):
            count = math.prod(step.shape[axis] for axis in step.axes)
        else:
            count = math.prod(step.window.kernel)
        return Bound(x.size * count, x.error * count)
    size = max(s.size for s in sources)
    if isinstance(step, p.PadStep):
        size = max(size, abs(step.value) / 65536)
    return Bound(size, max(s.error for s in sources))
