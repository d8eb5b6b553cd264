"""Steps on float64 arrays that hold integers: exact, and fast, while sums stay below 2^53.

For range analysis only. What a model answers comes from the reference or from the shares.
"""

from __future__ import annotations

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.plan import ConvStep, DenseStep, Window


def multiply(step: DenseStep | ConvStep, matrix: Floats, x: Floats) -> Floats:
    """(batch, input values) times a linear step's matrix: (batch, places, outputs), no bias."""
    if isinstance(step, DenseStep):
        product = x.reshape(-1, step.inputs) @ matrix
        return product.reshape(len(x), step.rows, step.outputs)
    window = step.window
    kernel = matrix.reshape(*window.kernel, window.channels, step.filters)
    rows, columns = window.output_size
    total = np.zeros((len(x) * rows * columns, step.filters))
    padded = _padded(x, window)
    for place in np.ndindex(*window.kernel):
        total += _seen(padded, window, place).reshape(-1, window.channels) @ kernel[place]
    return total.reshape(len(x), rows * columns, step.filters)


def pool(window: Window, x: Floats) -> Floats:
    """Sums over a window: (batch, rows, columns, channels)."""
    total = np.zeros((len(x), *window.output_size, window.channels))
    padded = _padded(x, window)
    for place in np.ndindex(*window.kernel):
        total += _seen(padded, window, place)
    return total


def _padded(x: Floats, window: Window) -> Floats:
    image = x.reshape(len(x), window.height, window.width, window.channels)
    top, bottom, left, right = window.padding
    return np.pad(image, ((0, 0), (top, bottom), (left, right), (0, 0)))


def _seen(padded: Floats, window: Window, place: tuple[int, ...]) -> Floats:
    rows, columns = (
        slice(at * spread, at * spread + (size - 1) * stride + 1, stride)
        for at, spread, stride, size in zip(
            place, window.dilation, window.strides, window.output_size, strict=True
        )
    )
    return padded[:, rows, columns]
