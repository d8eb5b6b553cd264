"""Layers that read several values; shapes are matched by numpy's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial, reduce

import numpy as np

from libmpc.graph.builder import GraphBuilder
from libmpc.graph.keras.call import Call, Reader

TwoToOne = Callable[[GraphBuilder, str, str, str], str]


def matched(call: Call, xs: Sequence[str]) -> list[str]:
    """The values, repeated into one shape.

    Raises:
        ModelError: their shapes do not match.
    """
    shapes = [call.b.shapes[x] for x in xs]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise call.refuse(f"its inputs' shapes {shapes} do not match") from None
    return [call.b.expand(call.name, x, shape) for x in xs]


def add(call: Call, xs: Sequence[str], signs: Sequence[int]) -> str:
    """A sum of values with coefficients; a value that comes twice is read once."""
    total: Counter[str] = Counter()
    for x, sign in zip(matched(call, xs), signs, strict=True):
        total[x] += sign
    return call.b.sum_of(call.name, list(total), list(total.values()))


def fold(operation: TwoToOne, call: Call, xs: Sequence[str]) -> str:
    """Combine the values two by two, from the left."""
    return reduce(partial(operation, call.b, call.name), matched(call, xs))


def _several(call: Call) -> list[str]:
    if len(call.xs) < 2:
        raise call.refuse("reads one value, it needs two or more")
    return call.xs


def _add(call: Call) -> str:
    return add(call, _several(call), [1] * len(call.xs))


def _subtract(call: Call) -> str:
    if len(call.xs) != 2:
        raise call.refuse(f"reads {len(call.xs)} values, not two")
    return add(call, call.xs, [1, -1])


def _average(call: Call) -> str:
    return call.b.scale(call.name, _add(call), 1.0 / len(call.xs))


def _folded(operation: TwoToOne) -> Reader:
    return lambda call: fold(operation, call, _several(call))


def _concatenate(call: Call) -> str:
    xs = _several(call)
    rank = len(call.b.shapes[xs[0]])
    axes = call.layer.axes("axis", -1, rank)
    if len(axes) != 1:
        raise call.refuse("joins along one axis only")
    return call.b.concat(call.name, xs, axes[0])


READERS: dict[str, Reader] = {
    "Add": _add,
    "Subtract": _subtract,
    "Average": _average,
    "Multiply": _folded(GraphBuilder.multiply),
    "Maximum": _folded(GraphBuilder.maximum),
    "Minimum": _folded(GraphBuilder.minimum),
    "Concatenate": _concatenate,
}
