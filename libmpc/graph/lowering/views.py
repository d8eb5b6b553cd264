"""Values that stand in another order of axes than the one in which a network sees them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from libmpc.graph.lowering.constant import Constant
from libmpc.graph.nodes import Floats, Shape


@dataclass(frozen=True)
class View:
    """The value ``base``, seen as ``dims``, with its axes in ``order``, seen as ``shape``.

    ``dims`` has no 1; every axis of ``shape`` is made of consecutive ones of the ordered axes.
    """

    base: str
    dims: Shape
    order: tuple[int, ...]
    shape: Shape

    @staticmethod
    def plain(base: str, shape: Shape) -> View:
        """A value as it stands."""
        dims = tuple(d for d in shape if d > 1)
        return View(base, dims, tuple(range(len(dims))), shape)

    @property
    def straight(self) -> bool:
        """Whether the values stand in the order in which they are seen."""
        return self.order == tuple(range(len(self.dims)))

    @property
    def inverse(self) -> tuple[int, ...]:
        """The order that leads back."""
        return tuple(int(i) for i in np.argsort(self.order))

    @property
    def groups(self) -> list[tuple[int, ...]]:
        """For every axis of ``shape``, the axes of ``dims`` that it is made of."""
        left = list(self.order)
        found: list[tuple[int, ...]] = []
        for size in self.shape:
            group: list[int] = []
            while math.prod(self.dims[axis] for axis in group) < size:
                group.append(left.pop(0))
            found.append(tuple(group))
        return found

    def on(self, base: str) -> View:
        """The same view of another value."""
        return View(base, self.dims, self.order, self.shape)

    def transposed(self, order: Sequence[int]) -> View:
        """The view with its axes in another order."""
        groups = self.groups
        axes = tuple(axis for i in order for axis in groups[i])
        return View(self.base, self.dims, axes, tuple(self.shape[i] for i in order))

    def reshaped(self, shape: Shape) -> View | None:
        """The view in another shape, if that only splits and joins axes."""
        pieces: list[list[int]] = []  # of each ordered axis
        sizes = [d for d in shape if d > 1]
        for axis in self.order:
            rest = self.dims[axis]
            pieces.append([])
            while rest > 1:
                part = math.gcd(rest, sizes[0])
                if part not in (rest, sizes[0]):
                    return None
                pieces[-1].append(part)
                rest //= part
                sizes[0] //= part
                if sizes[0] == 1:
                    sizes.pop(0)
        first: dict[int, int] = {}
        dims: list[int] = []
        for axis in range(len(self.dims)):
            first[axis] = len(dims)
            dims += pieces[self.order.index(axis)]
        order: list[int] = []
        for axis, parts in zip(self.order, pieces, strict=True):
            order += range(first[axis], first[axis] + len(parts))
        return View(self.base, tuple(dims), tuple(order), shape)

    def constant(self, array: Floats) -> Floats:
        """A constant that repeats into ``shape``, as one that repeats into ``dims``."""
        values = Constant.of(array, self.shape).values
        split: list[int] = []
        for size, group in zip(values.shape, self.groups, strict=True):
            split += [self.dims[axis] if size > 1 else 1 for axis in group]
        return values.reshape(split).transpose(self.inverse)


def alike(a: View, b: View) -> bool:
    """Whether two values can be taken together as they stand."""
    return a.dims == b.dims and a.order == b.order
