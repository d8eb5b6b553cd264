"""Windows that slide over float64 images: convolution, sums and maxima.

For the float64 network and for range analysis; what a model answers comes from integers.
"""

from __future__ import annotations

import math

import numpy as np

from libmpc.graph.nodes import Floats, Padding, Pair

_UNFOLDED = 1 << 23  # values of the matrix that a convolution makes of an image, at a time


def conv(
    x: Floats,
    kernel: Floats,
    strides: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
    groups: int = 1,
) -> Floats:
    """Cross-correlation without bias.

    Args:
        x: (images, height, width, channels).
        kernel: (height, width, channels / groups, filters).
        strides, dilation, padding, groups: as in ``nodes.Conv``.

    Returns:
        (images, rows, columns, filters).
    """
    size, filters = (kernel.shape[0], kernel.shape[1]), kernel.shape[3]
    if size == strides == (1, 1) and not any(padding) and groups == 1:
        # One product, not one for every row of pixels.
        product: Floats = x.reshape(-1, x.shape[3]) @ kernel[0, 0]
        return product.reshape(*x.shape[:3], filters)
    views = windows(x, size, strides, dilation, padding)
    images, rows, columns = views.shape[:3]
    result = np.empty((images, rows, columns, filters))
    if kernel.shape[2] == 1:
        depthwise = kernel[:, :, 0].reshape(*size, groups, filters // groups)
        result[:] = 0.0
        split = result.reshape(images, rows, columns, groups, filters // groups)
        for row, column in np.ndindex(*size):
            split += views[:, :, :, :, row, column, None] * depthwise[row, column]
        return result
    # (groups, kernel · channels, filters of a group); rows in the order of unfolded windows
    parts = kernel.reshape(math.prod(size), -1, groups, filters // groups)
    matrices = parts.transpose(2, 1, 0, 3).reshape(groups, -1, filters // groups)
    values = columns * matrices.shape[0] * matrices.shape[1]  # of one row of one image
    lines = min(rows, max(1, _UNFOLDED // values))
    step = max(1, _UNFOLDED // (values * rows))
    for image in range(0, images, step):
        for row in range(0, rows, lines):
            part = views[image : image + step, row : row + lines]
            places = part.shape[:3]
            flat = part.reshape(math.prod(places), groups, -1).transpose(1, 0, 2)
            out = (flat @ matrices).transpose(1, 0, 2)
            result[image : image + step, row : row + lines] = out.reshape(*places, filters)
    return result


def sum_pool(
    x: Floats,
    kernel: Pair,
    strides: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
) -> Floats:
    """Sums over windows of (images, height, width, channels)."""
    views = windows(x, kernel, strides, dilation, padding)
    total = np.zeros(views.shape[:4])
    for row, column in np.ndindex(*kernel):
        total += views[..., row, column]
    return total


def max_pool(
    x: Floats,
    kernel: Pair,
    strides: Pair = (1, 1),
    dilation: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
) -> Floats:
    """Maxima over windows; what ``padding`` adds is never one."""
    views = windows(x, kernel, strides, dilation, padding, -np.inf)
    largest = np.full(views.shape[:4], -np.inf)
    for row, column in np.ndindex(*kernel):
        np.maximum(largest, views[..., row, column], out=largest)
    return largest


def windows(
    x: Floats,
    kernel: Pair,
    strides: Pair,
    dilation: Pair,
    padding: Padding,
    value: float = 0.0,
) -> Floats:
    """What every window sees: (images, rows, columns, channels, kernel height, kernel width)."""
    if any(padding):
        top, bottom, left, right = padding
        edges = ((0, 0), (top, bottom), (left, right), (0, 0))
        x = np.pad(x, edges, constant_values=value)
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    every = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(1, 2))
    seen: Floats = every[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return seen
