"""Values that are not computed yet: sums of linear maps of values that are."""

from __future__ import annotations

from dataclasses import dataclass, field

from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.maps import LinearMap
from libmpc.graph.nodes import Shape


@dataclass(frozen=True, eq=False)
class Term:
    """``coefficient`` times a map of a step's value; no map: the value itself.

    A map reads a masked value; a value itself may be of either kind.
    """

    source: int
    map: LinearMap | None = None
    coefficient: int = 1


@dataclass(frozen=True, eq=False)
class Expr:
    """The sum of terms and a bias. All terms have as many values as ``shape``, in that order."""

    shape: Shape
    terms: tuple[Term, ...]
    bias: Constant | None = field(default=None, repr=False)

    @property
    def plain(self) -> bool:
        """Whether no term has weights."""
        return all(term.map is None for term in self.terms)

    @property
    def itself(self) -> int | None:
        """The step whose value this is, if it is one as it stands."""
        if len(self.terms) == 1 and self.bias is None:
            (term,) = self.terms
            if term.map is None and term.coefficient == 1:
                return term.source
        return None


def value(index: int, shape: Shape) -> Expr:
    """A step's value as it stands."""
    return Expr(shape, (Term(index),))
