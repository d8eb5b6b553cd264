"""Max pooling as slices and a tournament of maxima."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.lowering.emit import Emitter
from libmpc.graph.nodes import MaxPool, Shape
from libmpc.graph.plan import ConcatStep, RectifyStep, SliceStep

_PLACES = 1 << 24  # of all windows along one axis

Indices = NDArray[np.int64]


def max_pool(emitter: Emitter, node: MaxPool, source: int, shape: Shape) -> int:
    """The largest value of every window of a masked image, rows first and then columns.

    Along each axis one value per place of the window, for all windows: a slice. Then pairs of
    them, neighbours first, until one is left: max(a, b) = b + rectify(a - b). Where a place lies in
    the padding, the slice has the window's nearest place inside the image instead: it counts
    twice, which changes no maximum.

    Raises:
        ModelError: a window has nothing but padding in it.
    """
    after = node.output_shape(shape)
    for axis, before in ((0, node.padding[0]), (1, node.padding[2])):
        at = len(shape) - 3 + axis
        seen = _seen(node, axis, before, shape[at], after[at])
        left = [_taken(emitter, node.name, source, shape, at, place) for place in seen]
        shape = (*shape[:at], after[at], *shape[at + 1 :])
        while len(left) > 1:
            odd = left[len(left) // 2 * 2 :]
            pairs = zip(left[::2], left[1::2], strict=False)
            left = [_maximum(emitter, a, b, shape, node.name) for a, b in pairs] + odd
        source = left[0]
    return source


def _maximum(emitter: Emitter, a: int, b: int, shape: Shape, name: str) -> int:
    difference = emitter.add([a, b], [1, -1], shape, name)
    positive = emitter.put(RectifyStep(source=difference, shape=shape), name)
    return emitter.add([b, positive], [1, 1], shape, name)


def _seen(node: MaxPool, axis: int, before: int, size: int, count: int) -> list[Indices]:
    """For every place of the window, which row (or column) each window has there."""
    places, stride, dilation = node.kernel[axis], node.strides[axis], node.dilation[axis]
    if places * count > _PLACES:
        raise node.refuse(f"{places} x {count} places of windows are more than {_PLACES}")
    first = np.arange(count) * stride - before
    at = [first + place * dilation for place in range(places)]
    # The places inside the image, from the first to the last: those outside take the nearest.
    lowest = np.maximum(0, -(first // dilation)) * dilation + first
    highest = np.minimum(places - 1, (size - 1 - first) // dilation) * dilation + first
    if (lowest > highest).any():
        raise node.refuse("a window has nothing but padding in it; use less padding")
    return [np.clip(row, lowest, highest) for row in at]


def _taken(emitter: Emitter, name: str, source: int, shape: Shape, axis: int, rows: Indices) -> int:
    """The value's rows along an axis, as slices with even steps, one after the other."""
    parts: list[int] = []
    shapes: list[Shape] = []
    for start, size, stride in _runs(rows):
        sizes = (*shape[:axis], size, *shape[axis + 1 :])
        step = SliceStep(
            source=source,
            shape=shape,
            starts=tuple(start if i == axis else 0 for i in range(len(shape))),
            sizes=sizes,
            strides=tuple(stride if i == axis else 1 for i in range(len(shape))),
        )
        whole = sizes == shape and stride == 1
        parts.append(source if whole else emitter.put(step, name))
        shapes.append(sizes)
    if len(parts) == 1:
        return parts[0]
    return emitter.put(ConcatStep(inputs=tuple(parts), shapes=tuple(shapes), axis=axis), name)


def _runs(rows: Indices) -> Iterator[tuple[int, int, int]]:
    """Start, size and stride of runs with even steps, each as long as it can be."""
    steps = np.diff(rows)
    start = 0
    while start < len(rows):
        if start == len(rows) - 1 or steps[start] == 0:
            yield int(rows[start]), 1, 1
            start += 1
            continue
        other = np.flatnonzero(steps[start:] != steps[start])
        size = 1 + (int(other[0]) if len(other) else len(steps) - start)
        yield int(rows[start]), size, int(steps[start])
        start += size
