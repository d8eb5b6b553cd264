"""Coefficients of many linear functions of one value, most of which are zero outside a box."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from libmpc.graph.nodes import Floats

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Patch:
    """Functions of a value that depend on a box inside it only.

    A neuron of a convolution sees a small part of the image before it, so its coefficients are
    kept for that part.

    Attributes:
        shape: the value's.
        start: the box's first place along every axis.
        values: (functions, *box).
    """

    shape: Shape
    start: Shape
    values: Floats

    @property
    def box(self) -> tuple[slice, ...]:
        """The box as an index into an array of ``shape``."""
        sizes = self.values.shape[1:]
        return tuple(slice(at, at + size) for at, size in zip(self.start, sizes, strict=True))

    def cut(self, flat: Floats) -> Floats:
        """The box's part of an array (values,)."""
        return flat.reshape(self.shape)[self.box]

    def with_values(self, values: Floats) -> Patch:
        """Other coefficients on the same box."""
        return Patch(self.shape, self.start, values)

    def whole(self) -> Floats:
        """All coefficients, zeros included: (functions, *shape)."""
        if self.values.shape[1:] == self.shape:
            return self.values
        full = np.zeros((len(self.values), *self.shape))
        full[(slice(None), *self.box)] = self.values
        return full

    def seen_as(self, shape: Shape) -> Patch:
        """The same functions of the value in another shape; the box is kept where that is easy."""
        if shape == self.shape:
            return self
        functions = len(self.values)
        ones = [tuple(d for d in s if d > 1) for s in (self.shape, shape)]
        if ones[0] == ones[1]:
            ends = iter(
                (at, size)
                for at, size, dim in zip(self.start, self.values.shape[1:], self.shape, strict=True)
                if dim > 1
            )
            kept = [next(ends) if dim > 1 else (0, 1) for dim in shape]
            sizes = [size for _, size in kept]
            return Patch(shape, tuple(s for s, _ in kept), self.values.reshape(functions, *sizes))
        if len(ones[0]) == 1:
            return self._rows(shape)
        return Patch(shape, (0,) * len(shape), self.whole().reshape(functions, *shape))

    def _rows(self, shape: Shape) -> Patch:
        """A part of values in a row as some rows of an image."""
        functions, first = len(self.values), next(i for i, d in enumerate(shape) if d > 1)
        row = math.prod(shape[first + 1 :])
        low, size = max(self.start), self.cells
        begin, end = low // row, -(-(low + size) // row)
        values = np.zeros((functions, (end - begin) * row))
        values[:, low - begin * row : low - begin * row + size] = self.values.reshape(functions, -1)
        start = (*(0,) * first, begin, *(0,) * (len(shape) - first - 1))
        ones = (1,) * first
        return Patch(shape, start, values.reshape(functions, *ones, -1, *shape[first + 1 :]))

    def plus(self, other: Patch) -> Patch:
        """The sum of functions, pair by pair; in this one's shape."""
        other = other.seen_as(self.shape)
        if self.start == other.start and self.values.shape == other.values.shape:
            return self.with_values(self.values + other.values)
        low = tuple(map(min, self.start, other.start))
        high = tuple(max(a.stop, b.stop) for a, b in zip(self.box, other.box, strict=True))
        sizes = [end - start for start, end in zip(low, high, strict=True)]
        total = np.zeros((len(self.values), *sizes))
        for patch in (self, other):
            inner = (
                slice(a - b, a - b + size)
                for a, b, size in zip(patch.start, low, patch.values.shape[1:], strict=True)
            )
            total[(slice(None), *inner)] += patch.values
        return Patch(self.shape, low, total)

    def times(self, flat: Floats) -> Floats:
        """Every function's value where the value is an array (values,): (functions,)."""
        product: Floats = self.values.reshape(len(self.values), -1) @ self.cut(flat).reshape(-1)
        return product

    @property
    def cells(self) -> int:
        """How many values the box has."""
        return math.prod(self.values.shape[1:])

    def least(self, low: Floats, high: Floats) -> Floats:
        """Each function's least value where the value lies between two arrays (values,)."""
        flat = self.values.reshape(len(self.values), -1)
        # a·x is least at (low + high)/2 ∓ (high - low)/2
        centre, radius = self.cut((low + high) / 2.0), self.cut((high - low) / 2.0)
        result: Floats = flat @ centre.reshape(-1) - np.abs(flat) @ radius.reshape(-1)
        return result

    def size(self, flat: Floats) -> Floats:
        """Each function's largest size where values' sizes are bounded by an array (values,)."""
        total: Floats = np.abs(self.values.reshape(len(self.values), -1)) @ self.cut(flat).reshape(
            -1
        )
        return total
