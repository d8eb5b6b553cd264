"""Slow, obvious versions in Python integers. Imports no kernel and no protocol."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from libmpc.graph.plan import ConvStep, DenseStep, Plan, Window

Ints = np.ndarray[Any, np.dtype[np.object_]]


def ints(values: Any) -> Ints:
    """Any integers as an array of Python integers."""
    array = np.asarray(values)
    out = np.empty(array.shape, object)
    for index in np.ndindex(*array.shape):
        out[index] = int(array[index])
    return out


def signed(values: Any, bits: int = 48) -> Ints:
    """The signed integer that the low bits stand for in two's complement."""
    out = ints(values)
    for index in np.ndindex(*out.shape):
        low = out[index] % (1 << bits)
        out[index] = low - (1 << bits) if low >> (bits - 1) else low
    return out


def ring(values: Any, bits: int = 64) -> np.ndarray[Any, np.dtype[np.uint64]]:
    """Integers modulo 2^bits as uint64."""
    array = ints(values)
    out = np.empty(array.shape, np.uint64)
    for index in np.ndindex(*array.shape):
        out[index] = array[index] % (1 << bits)
    return out


def matmul(x: Ints, w: Ints) -> Ints:
    """(n, k) times (k, m)."""
    out = np.empty((x.shape[0], w.shape[1]), object)
    for i, j in np.ndindex(*out.shape):
        out[i, j] = sum((x[i, k] * w[k, j] for k in range(x.shape[1])), 0)
    return out


def patches(image: Ints, window: Window) -> Iterator[tuple[int, int, Ints]]:
    """(output row, output column, (kernel h, kernel w, channels)) of every window, zero-padded."""
    top, bottom, left, right = window.padding
    height, width, channels = image.shape
    padded = np.zeros((height + top + bottom, width + left + right, channels), object)
    padded[top : top + height, left : left + width] = image
    span_h = (window.kernel[0] - 1) * window.dilation[0] + 1
    span_w = (window.kernel[1] - 1) * window.dilation[1] + 1
    for oy, y in enumerate(range(0, padded.shape[0] - span_h + 1, window.strides[0])):
        for ox, x in enumerate(range(0, padded.shape[1] - span_w + 1, window.strides[1])):
            patch = padded[y : y + span_h : window.dilation[0], x : x + span_w : window.dilation[1]]
            yield oy, ox, patch


def conv(image: Ints, window: Window, w: Ints, groups: int = 1) -> Ints:
    """One image (height, width, channels) with a weight matrix as in ``ConvStep``."""
    filters = w.shape[1] // groups
    channels = window.channels // groups
    out = np.empty((*window.output_size, w.shape[1]), object)
    for oy, ox, patch in patches(image, window):
        for g in range(groups):
            own = patch[:, :, g * channels : (g + 1) * channels].reshape(1, -1)
            mine = slice(g * filters, (g + 1) * filters)
            out[oy, ox, mine] = matmul(own, w[:, mine])[0]
    return out


def sum_pool(image: Ints, window: Window) -> Ints:
    """Sums over windows, channel by channel."""
    out = np.empty((*window.output_size, window.channels), object)
    for oy, ox, patch in patches(image, window):
        for c in range(window.channels):
            out[oy, ox, c] = sum(patch[:, :, c].reshape(-1).tolist(), 0)
    return out


def relu(z: Ints) -> Ints:
    """max(⌊z / 2^16⌋, 0)."""
    return each(z, lambda v: max(v // (1 << 16), 0))


def each(values: Ints, function: Callable[[int], int]) -> Ints:
    """A function of every value."""
    out = np.empty(values.shape, object)
    for index in np.ndindex(*values.shape):
        out[index] = function(values[index])
    return out


def run(plan: Plan, weights: Mapping[int, tuple[Any, Any]], x: Any) -> Ints:
    """The outputs, as integers at scale 2^32, of a batch of integers at scale 2^16."""
    outputs = [run_one(plan, weights, ints(sample))[-1] for sample in x]
    return np.array(outputs, object).reshape(len(x), *plan.output_shape)


def run_one(plan: Plan, weights: Mapping[int, tuple[Any, Any]], x: Ints) -> list[Ints]:
    """The value of every step, for one sample."""
    values: list[Ints] = []
    for index, step in enumerate(plan.steps):
        sources = [values[read] for read in step.reads] or [x]
        constants = [signed(part) for part in weights[index]] if index in weights else []
        value = _step(step, sources, constants)
        assert value.size == math.prod(step.output_shape)
        values.append(value.reshape(step.output_shape))
    return values


def _step(step: Any, sources: Sequence[Ints], constants: Sequence[Ints]) -> Ints:
    x = sources[0]
    if step.op in ("input", "output"):
        return x
    if step.op in ("dense", "conv", "scale", "bias"):
        return _linear(step, x, *constants)
    if step.op == "relu":
        return relu(x)
    if step.op == "truncate":
        return each(x, lambda v: v // (1 << 16))
    if step.op == "rectify":
        return each(x, lambda v: max(v, 0))
    if step.op == "positive":
        return each(x, lambda v: int(v >= 1) << 16)
    if step.op == "lift":
        return each(x, lambda v: v << 16)
    if step.op == "product":
        return x.reshape(step.shape) * sources[1].reshape(step.shape)
    return move(step, sources)


def _linear(step: Any, x: Ints, w: Ints, b: Ints) -> Ints:
    if isinstance(step, DenseStep):
        return matmul(x.reshape(step.rows, step.inputs), w) + b
    if isinstance(step, ConvStep):
        window = step.window
        images = x.reshape(step.images, window.height, window.width, window.channels)
        return np.array([conv(image, window, w, step.groups) + b for image in images], object)
    values = x.reshape(step.shape)
    return values * w + b if step.op == "scale" else values + b


def move(step: Any, sources: Sequence[Ints]) -> Ints:
    """Place by place: which values of the sources a place of the result adds up."""
    if step.op == "sum_pool":
        window = step.window
        images = sources[0].reshape(step.images, window.height, window.width, window.channels)
        return np.array([sum_pool(image, window) for image in images], object)
    if step.op == "add":
        parts = [source.reshape(step.shape) for source in sources]
        return sum((p * c for p, c in zip(parts, step.coefficients, strict=True)), 0)  # type: ignore[return-value]
    fill = step.value if step.op == "pad" else 0
    out = np.full(step.output_shape, fill, object)
    if step.op == "concat":
        at = 0
        for source, shape in zip(sources, step.shapes, strict=True):
            for place in itertools.product(*map(range, shape)):
                target = list(place)
                target[step.axis] += at
                out[tuple(target)] = source.reshape(shape)[place]
            at += shape[step.axis]
        return out
    x = sources[0].reshape(step.shape)
    for place in itertools.product(*map(range, step.shape)):
        for target in _targets(step, place):
            out[target] = out[target] + x[place] if step.op == "sum" else x[place]
    return out


def _targets(step: Any, place: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Where in the result the value at a place of the source goes."""
    if step.op == "sum":
        return [tuple(p for axis, p in enumerate(place) if axis not in step.axes) or (0,)]
    if step.op == "permute":
        return [tuple(place[axis] for axis in step.order)]
    if step.op == "pad":
        steps = zip(place, step.before, step.between, strict=True)
        return [tuple(before + p * (gap + 1) for p, before, gap in steps)]
    if step.op == "expand":
        axes = zip(place, step.shape, step.target, strict=True)
        return list(itertools.product(*(range(t) if s == 1 else [p] for p, s, t in axes)))
    assert step.op == "slice"
    found = []
    for p, start, size, stride in zip(place, step.starts, step.sizes, step.strides, strict=True):
        found.append([i for i in range(size) if start + i * stride == p])
    return list(itertools.product(*found))
