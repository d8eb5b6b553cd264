"""Convolution kernels in other forms: dilation written out, groups written out, as a matrix."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from libmpc.graph.lowering.maps import ConvMap
from libmpc.graph.nodes import Floats, Pair, Shape


def spread(kernel: Floats, dilation: Pair) -> Floats:
    """The kernel with its dilation written out as zeros."""
    if dilation == (1, 1):
        return kernel
    height, width = ((n - 1) * d + 1 for n, d in zip(kernel.shape[:2], dilation, strict=True))
    wide = np.zeros((height, width, *kernel.shape[2:]))
    wide[:: dilation[0], :: dilation[1]] = kernel
    return wide


def ungrouped(kernel: Floats, groups: int) -> Floats:
    """The kernel that reads all channels, with zeros for those of other groups."""
    if groups == 1:
        return kernel
    height, width, channels, filters = kernel.shape
    wide = np.zeros((height, width, groups, channels, groups, filters // groups))
    parts = kernel.reshape(height, width, channels, groups, filters // groups)
    for group in range(groups):
        wide[:, :, group, :, group] = parts[:, :, :, group]
    return wide.reshape(height, width, groups * channels, filters)


def per_filter(values: Floats, groups: int, filters: int) -> Floats:
    """Channels' values as (channels / groups, filters): for each filter those of its group."""
    return np.repeat(values.reshape(groups, -1).T, filters // groups, axis=1)


def as_matrix(conv: ConvMap) -> Floats:
    """(all values of the image, all values of the result)."""
    height, width, channels = conv.image
    rows, columns, filters = conv.after
    top, bottom, left, right = conv.padding
    kernel = ungrouped(conv.kernel, conv.groups)
    full = np.zeros((height + top + bottom, width + left + right, channels, rows, columns, filters))
    for place, row, column in itertools.product(
        np.ndindex(*kernel.shape[:2]), range(rows), range(columns)
    ):
        y = row * conv.strides[0] + place[0] * conv.dilation[0]
        x = column * conv.strides[1] + place[1] * conv.dilation[1]
        full[y, x, :, row, column] = kernel[place]
    inside = full[top : top + height, left : left + width]
    return inside.reshape(math.prod(conv.image), -1)


def shifts(
    target: Floats, kernel: Floats, steps: Pair, window: Pair
) -> Iterator[tuple[Floats, tuple[int, ...]]]:
    """Views of ``target`` of the kernel's size, one for each place of the window, row-major."""
    height, width = kernel.shape[:2]
    for y, x in np.ndindex(*window):
        top, left = y * steps[0], x * steps[1]
        yield target[top : top + height, left : left + width], (y, x)


def seen(
    image: Floats, place: tuple[int, ...], strides: Pair, dilation: Pair, sizes: Shape
) -> Floats:
    """The view of a padded image's pixels that one place of a kernel or window reads."""
    rows, columns = (
        slice(at * apart, at * apart + (size - 1) * stride + 1, stride)
        for at, apart, stride, size in zip(place, dilation, strides, sizes, strict=True)
    )
    return image[rows, columns]


def times(a: Pair, b: Pair) -> Pair:
    """Element by element."""
    return a[0] * b[0], a[1] * b[1]
