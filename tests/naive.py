"""Slow, obvious versions in Python integers. Imports no kernel and no protocol."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    OutputStep,
    Plan,
    ReluStep,
    SumPoolStep,
    Window,
)

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


def conv(image: Ints, window: Window, w: Ints) -> Ints:
    """One image (height, width, channels) with a weight matrix as in ``ConvStep``."""
    out = np.empty((*window.output_size, w.shape[1]), object)
    for oy, ox, patch in patches(image, window):
        out[oy, ox] = matmul(patch.reshape(1, -1), w)[0]
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
    out = np.empty(z.shape, object)
    for index in np.ndindex(*z.shape):
        out[index] = max(z[index] // (1 << 16), 0)
    return out


def run(plan: Plan, weights: Mapping[int, tuple[Any, Any]], x: Any) -> Ints:
    """The outputs, as integers at scale 2^32, of a batch of integers at scale 2^16."""
    return np.array([_run_one(plan, weights, ints(sample)) for sample in x], object).reshape(
        len(x), *plan.output_shape
    )


def _run_one(plan: Plan, weights: Mapping[int, tuple[Any, Any]], x: Ints) -> Ints:
    values: list[Ints] = [x]
    for index, step in enumerate(plan.steps[1:], start=1):
        source = values[step.source]  # type: ignore[union-attr]
        if isinstance(step, DenseStep):
            w, b = (signed(part) for part in weights[index])
            values.append(matmul(source.reshape(step.rows, step.inputs), w) + b)
        elif isinstance(step, ConvStep):
            w, b = (signed(part) for part in weights[index])
            values.append(conv(_image(source, step.window), step.window, w) + b)
        elif isinstance(step, SumPoolStep):
            values.append(sum_pool(_image(source, step.window), step.window))
        elif isinstance(step, ReluStep):
            values.append(relu(source))
        else:
            assert isinstance(step, OutputStep)
            values.append(source)
        assert values[-1].size == math.prod(step.output_shape)
    return values[-1]


def _image(values: Ints, window: Window) -> Ints:
    return values.reshape(window.height, window.width, window.channels)
