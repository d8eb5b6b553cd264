"""Constants that repeat into a value's shape: biases and factors on their way through a network.

Everything here goes by shapes, never by numbers: a plan must not depend on weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from libmpc.graph import nodes
from libmpc.graph.nodes import Floats, Shape


@dataclass(frozen=True, eq=False)
class Constant:
    """``values`` has the rank of ``shape`` and repeats along the axes where it has 1."""

    shape: Shape
    values: Floats = field(repr=False)

    @staticmethod
    def of(array: Floats, shape: Shape) -> Constant:
        """What numpy would repeat into ``shape``."""
        return Constant(shape, array.reshape((1,) * (len(shape) - array.ndim) + array.shape))

    def on(self, shape: Shape) -> Constant:
        """The same constant, seen in another shape of the same values.

        Both shapes are cut into the same pieces, where that can be; a new axis is written out if
        the constant varies along a piece of it. Where it cannot be, axes are matched in the
        shortest groups that have as many values, and a group is one piece.
        """
        if shape == self.shape:
            return self
        pieces = _pieces(self.shape, shape)
        if pieces is None:
            return self._grouped(shape)
        before, after = pieces
        split: list[int] = []
        for size, parts in zip(self.values.shape, before, strict=True):
            split += parts if size > 1 else [1] * len(parts)
        values = self.values.reshape(split)
        written: list[int] = []
        dims: list[int] = []
        for dim, parts in zip(shape, after, strict=True):
            varies = any(d > 1 for d in split[len(written) : len(written) + len(parts)])
            written += parts if varies else [1] * len(parts)
            dims.append(dim if varies else 1)
        return Constant(shape, np.broadcast_to(values, written).reshape(dims))

    def _grouped(self, shape: Shape) -> Constant:
        dims: list[int] = []
        written: list[int] = []
        for before, after in _groups(self.shape, shape):
            varies = any(self.values.shape[axis] > 1 for axis in before)
            written += [self.shape[a] if varies else self.values.shape[a] for a in before]
            dims += [shape[axis] if varies else 1 for axis in after]
        return Constant(shape, np.broadcast_to(self.values, tuple(written)).reshape(dims))

    def varies(self, *axes: int) -> bool:
        """Whether it has more than one value along one of the axes (counted from either end)."""
        return any(self.values.shape[axis] > 1 for axis in axes)

    def along_last(self) -> Floats | None:
        """Its values along the last axis, if it is the same along all others."""
        if self.varies(*range(len(self.shape) - 1)):
            return None
        return np.broadcast_to(self.values.reshape(-1), self.shape[-1:])

    def written(self, *axes: int) -> Floats:
        """The values, written out along these axes."""
        dims = list(self.values.shape)
        for axis in axes:
            dims[axis] = self.shape[axis]
        return np.broadcast_to(self.values, dims)


def plus(a: Constant | None, b: Constant | None) -> Constant | None:
    """The sum; ``None`` is no constant at all."""
    if a is None or b is None:
        return a or b
    return Constant(b.shape, a.on(b.shape).values + b.values)


def times(a: Constant | None, coefficient: int) -> Constant | None:
    """An integer multiple."""
    return a if a is None or coefficient == 1 else Constant(a.shape, a.values * float(coefficient))


def moved(node: nodes.Node, constant: Constant, after: Shape) -> Constant:
    """What a move or a sum makes of a constant."""
    values, before = constant.values, constant.shape
    if isinstance(node, nodes.Transpose):
        values = values.transpose(node.order)
    elif isinstance(node, nodes.Slice):
        places = (
            start + stride * np.arange(size) if dim > 1 else np.zeros(1, np.int64)
            for dim, start, size, stride in zip(
                values.shape, node.starts, node.sizes, node.strides, strict=True
            )
        )
        values = values[np.ix_(*places)]
    elif isinstance(node, nodes.Pad):
        values = _padded(node, constant, after)
    elif isinstance(node, nodes.Sum):
        for axis in node.axes:
            if values.shape[axis] == 1:
                values = values * float(before[axis])
        values = values.sum(axis=node.axes)
        values = values.reshape(1) if values.ndim == 0 else values
    elif not isinstance(node, nodes.Expand):
        raise TypeError(type(node).__name__)
    return Constant(after, values)


def joined(parts: list[Constant], axis: int, after: Shape) -> Constant:
    """Constants one after the other along an axis."""
    ranks = range(len(after))
    wide = {a for a in ranks if a == axis or any(p.varies(a) for p in parts)}
    return Constant(after, np.concatenate([p.written(*wide) for p in parts], axis))


def _padded(node: nodes.Pad, constant: Constant, after: Shape) -> Floats:
    gaps = list(zip(node.before, node.after, node.between, strict=True))
    wide = [axis for axis, gap in enumerate(gaps) if any(gap)]
    values = constant.written(*wide)
    dims = tuple(after[a] if a in wide else values.shape[a] for a in range(len(after)))
    result = np.full(dims, node.value)
    places = tuple(
        slice(b, b + (dim - 1) * (gap + 1) + 1, gap + 1) if any((b, a, gap)) else slice(None)
        for (b, a, gap), dim in zip(gaps, values.shape, strict=True)
    )
    result[places] = values
    return result


def _pieces(a: Shape, b: Shape) -> tuple[list[list[int]], list[list[int]]] | None:
    """Sizes into which every axis of both shapes is cut, so that all pieces are the same."""
    before: list[list[int]] = [[] for _ in a]
    after: list[list[int]] = [[] for _ in b]
    left, right = list(a), list(b)
    i = j = 0
    while True:
        while i < len(a) and left[i] == 1:
            i += 1
        while j < len(b) and right[j] == 1:
            j += 1
        if i == len(a) or j == len(b):
            return before, after
        piece = min(left[i], right[j])
        if left[i] % piece or right[j] % piece:
            return None
        before[i].append(piece)
        after[j].append(piece)
        left[i] //= piece
        right[j] //= piece


def _groups(a: Shape, b: Shape) -> list[tuple[list[int], list[int]]]:
    """The shortest groups of consecutive axes with as many values on both sides."""
    groups = []
    i = j = 0
    while i < len(a) or j < len(b):
        left, right = ([i] if i < len(a) else []), ([j] if j < len(b) else [])
        i, j = i + len(left), j + len(right)
        while (x := math.prod(a[k] for k in left)) != (y := math.prod(b[k] for k in right)):
            if x < y:
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        groups.append((left, right))
    return groups
