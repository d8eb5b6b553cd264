"""A linear step that reads sums over windows, as one that reads what they sum.

Every order of summation is that of ``linear``: places of the window in row-major order.
"""

from __future__ import annotations

import numpy as np

from libmpc.graph.nodes import Floats
from libmpc.graph.plan import ConvStep, Window


def unpool(window: Window, matrix: Floats) -> Floats:
    """A matrix on sums, (sums, outputs), as the matrix on the summed, (values, outputs).

    Each place of the window adds all of the matrix to the rows of the values that it sees.
    """
    top, bottom, left, right = window.padding
    height, width = window.height, window.width
    sums = matrix.reshape(*window.output_size, -1)
    padded = np.zeros((height + top + bottom, width + left + right, sums.shape[2]))
    for place in np.ndindex(*window.kernel):
        rows, columns = (
            slice(at * spread, at * spread + (size - 1) * stride + 1, stride)
            for at, spread, stride, size in zip(
                place, window.dilation, window.strides, window.output_size, strict=True
            )
        )
        padded[rows, columns] += sums
    inside = padded[top : top + height, left : left + width]
    return inside.reshape(-1, matrix.shape[1])


def widened(window: Window, conv: Window) -> Window:
    """The window of the one convolution that does the sums and then ``conv``, without padding."""
    gaps = _times(conv.dilation, window.strides)
    kernel = tuple(
        (taps - 1) * gap + (places - 1) * spread + 1
        for taps, gap, places, spread in zip(
            conv.kernel, gaps, window.kernel, window.dilation, strict=True
        )
    )
    strides = _times(conv.strides, window.strides)
    return window.model_copy(update={"kernel": kernel, "strides": strides, "dilation": (1, 1)})


def widen(window: Window, step: ConvStep, matrix: Floats) -> Floats:
    """The matrix of the convolution of ``widened``: a copy of the kernel for each place."""
    conv = step.window
    down, across = _times(conv.dilation, window.strides)
    height, width = (conv.kernel[0] - 1) * down + 1, (conv.kernel[1] - 1) * across + 1
    kernel = matrix.reshape(*conv.kernel, conv.channels, step.filters)
    wide = np.zeros((*widened(window, conv).kernel, conv.channels, step.filters))
    for y, x in np.ndindex(*window.kernel):
        top, left = y * window.dilation[0], x * window.dilation[1]
        wide[top : top + height : down, left : left + width : across] += kernel
    return wide.reshape(-1, step.filters)


def _times(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] * b[0], a[1] * b[1]
