"""A fold that could be made: what its result costs, and how to make it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from libmpc.graph.lowering.cost import MAX_FOLDED

if TYPE_CHECKING:
    from libmpc.graph.lowering.maps import LinearMap


@dataclass(frozen=True, eq=False)
class Fold:
    """Nothing is computed before ``build`` is called."""

    cost: int
    build: Callable[[], LinearMap]


def fold_of(
    weights: int, multiplications: int, build: Callable[[], LinearMap], *, room: int = 0
) -> Fold | None:
    """A fold with so many weights and multiplications; none where it would be too large.

    ``room`` is the largest array that building takes, where that is not the weights.
    """
    if max(weights, room) > MAX_FOLDED:
        return None
    return Fold(weights + multiplications, build)
