"""A matrix that reads sums over windows, as one that reads what they sum."""

from __future__ import annotations

import dataclasses

import numpy as np

from libmpc.graph.lowering.maps import DenseMap
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import Window


def fewest_inputs(dense: DenseMap) -> DenseMap:
    """The matrix on the sums, or on what they sum where that is less (as padding can make it).

    Window by window, from the last to the first, and for each place of the window in row-major
    order, the matrix on the sums is added to the rows of the values that this place sees.
    """
    if not dense.sums:
        return dense
    first = dense.sums[0][1]
    if len(dense.weights) <= first.height * first.width * first.channels:
        return dense
    weights = dense.weights
    for _, window in reversed(dense.sums):
        weights = unpool(window, weights)
    return dataclasses.replace(dense, weights=weights, sums=())


def unpool(window: Window, matrix: Floats) -> Floats:
    """A matrix on sums, (sums, outputs), as the matrix on the summed, (values, outputs)."""
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
