"""The plaintext fixed-point reference: what inference on shares returns, bit for bit.

Naive on purpose: plain numpy integers modulo 2^48, no kernel, no protocol, no share. Everything
is exact as long as every value that goes into a ReLU lies in [-2^47 + 2^16, 2^47] at scale 2^32,
and every output in [-2^47, 2^47); range analysis sees to that before a model is accepted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import InputError
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ReluStep,
    SumPoolStep,
    Window,
)

Ring = NDArray[np.uint64]

_MASK = np.uint64(2**48 - 1)
_CHUNK = 1 << 22  # values of one step that are in memory at a time, as samples allow


def run_reference(plan: Plan, weights: EncodedWeights, x: Ring) -> Ring:
    """Run a plan on plain ring elements.

    Args:
        plan: the steps.
        weights: by linear step: W at scale 2^16, b at scale 2^32.
        x: (batch, *input_shape) at scale 2^16, modulo 2^48.

    Returns:
        (batch, *output_shape) at scale 2^32, modulo 2^48.

    Raises:
        InputError: ``x`` has another shape.
    """
    if x.ndim < 1 or x.shape[1:] != plan.input_shape:
        raise InputError(
            f"the input has shape {x.shape}, the plan takes (batch, *{plan.input_shape})"
        )
    largest = max(step.size for step in plan.steps)
    samples = max(1, _CHUNK // largest)
    out = np.empty((len(x), *plan.output_shape), np.uint64)
    for start in range(0, len(x), samples):
        part = x[start : start + samples]
        out[start : start + samples] = _run(plan, weights, part).reshape(-1, *plan.output_shape)
    return out


def relu(z: Ring) -> Ring:
    """max(⌊z / 2^16⌋, 0): additive scale 2^32 to scale 2^16.

    The residue 2^47 is read as +2^47, the upper end of the range in which the protocol is exact.
    """
    residue = z & _MASK
    signed = residue.astype(np.int64)
    signed[residue > np.uint64(2**47)] -= 2**48
    positive: Ring = np.maximum(signed >> 16, 0).astype(np.uint64)
    return positive


def _run(plan: Plan, weights: EncodedWeights, x: Ring) -> Ring:
    values: dict[int, Ring] = {}
    result = x
    for index, step in enumerate(plan.steps):
        # Each value has one reader, so it is forgotten when it is read.
        source = x if isinstance(step, InputStep) else values.pop(step.source)
        if isinstance(step, SumPoolStep):
            result = _sum_pool(source, step.window)
        elif isinstance(step, DenseStep):
            w, b = weights[index]
            result = source.reshape(len(x) * step.rows, step.inputs) @ w + b
        elif isinstance(step, ConvStep):
            result = _conv(source, step, *weights[index])
        elif isinstance(step, ReluStep):
            result = relu(source)
        elif isinstance(step, (InputStep, OutputStep)):
            result = source & _MASK
        values[index] = result.reshape(len(x), *step.output_shape)
    return result


def _conv(x: Ring, step: ConvStep, w: Ring, b: Ring) -> Ring:
    window = step.window
    rows, columns = window.output_size
    kernel = w.reshape(*window.kernel, window.channels, step.filters)
    total = np.zeros((len(x) * rows * columns, step.filters), np.uint64)
    padded = _padded(x, window)
    for place in np.ndindex(*window.kernel):
        total += _seen(padded, window, place).reshape(-1, window.channels) @ kernel[place]
    return total + b


def _sum_pool(x: Ring, window: Window) -> Ring:
    total = np.zeros((len(x), *window.output_size, window.channels), np.uint64)
    padded = _padded(x, window)
    for place in np.ndindex(*window.kernel):
        total += _seen(padded, window, place)
    return total


def _padded(x: Ring, window: Window) -> Ring:
    image = x.reshape(len(x), window.height, window.width, window.channels)
    top, bottom, left, right = window.padding
    return np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _seen(padded: Ring, window: Window, place: tuple[int, ...]) -> Ring:
    """The pixels that one place of the window sees: (batch, output rows, columns, channels)."""
    rows, columns = (
        slice(at * spread, at * spread + (size - 1) * stride + 1, stride)
        for at, spread, stride, size in zip(
            place, window.dilation, window.strides, window.output_size, strict=True
        )
    )
    return padded[:, rows, columns]
