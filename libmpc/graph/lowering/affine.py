"""Nodes with constants, on expressions: folded, or begun anew behind a truncation."""

from __future__ import annotations

import math

from libmpc.graph.lowering import cost
from libmpc.graph.lowering.bias import through
from libmpc.graph.lowering.constant import plus, times
from libmpc.graph.lowering.expr import Expr, Term, value
from libmpc.graph.lowering.fold import fold
from libmpc.graph.lowering.fold_scale import start
from libmpc.graph.lowering.folded import Fold
from libmpc.graph.lowering.materialise import Materialiser
from libmpc.graph.nodes import Add, Conv, Dense, Scale

MOST = 256  # the largest public coefficient


def public_factor(node: Scale) -> int | None:
    """The integer that this multiplies with, where that is one number and no weight."""
    if node.factor.size != 1:
        return None
    factor = float(node.factor.reshape(-1)[0])
    return int(factor) if factor.is_integer() and 0 < abs(factor) <= MOST else None


def scale(values: Materialiser, node: Scale, x: Expr) -> Expr:
    """A factor that is one integer multiplies every term; any other is a weight."""
    factor = public_factor(node)
    if factor is None or any(abs(t.coefficient * factor) > MOST for t in x.terms):
        return weighted(values, node, x)
    terms = tuple(Term(t.source, t.map, t.coefficient * factor) for t in x.terms)
    return Expr(x.shape, terms, through(node, x.bias, x.shape))


def add(values: Materialiser, node: Add, parts: list[Expr]) -> Expr:
    """All terms and all biases, in order; values that occur several times become one."""
    terms: list[Term] = []
    bias = None
    for part, factor in zip(parts, node.coefficients, strict=True):
        if any(abs(t.coefficient * factor) > MOST for t in part.terms):
            part = value(values.additive(part, node.name), part.shape)
        terms += [Term(t.source, t.map, t.coefficient * factor) for t in part.terms]
        bias = plus(bias, times(part.bias, factor))
    shape = parts[0].shape
    return values.merged(Expr(shape, tuple(terms), bias), node.name)


def weighted(values: Materialiser, node: Conv | Dense | Scale, x: Expr) -> Expr:
    """Fold the node into every term, or truncate the value and begin with the node.

    Folding is chosen where it is possible and does not cost more (``cost``): maps after folding,
    and a bias that has to be written out for every pixel, against maps before it, a truncation,
    and the node alone.
    """
    x = values.merged(x, node.name)
    after = node.output_shape(x.shape)
    folds = _folds(values, node, x)
    if folds is not None:
        price = sum(f.cost for f in folds)
        written = isinstance(node, Conv) and any(node.padding) and x.bias is not None
        price += math.prod(after) if written else 0
        if values.is_masked(x):
            apart = start(node, x.shape).cost
        else:
            apart = sum(t.map.cost for t in x.terms if t.map is not None)
            apart += cost.truncation(math.prod(x.shape)) + start(node, x.shape).cost
        if price <= apart and not (written and math.prod(after) > cost.MAX_FOLDED):
            terms = tuple(
                Term(t.source, f.build(), t.coefficient)
                for t, f in zip(x.terms, folds, strict=True)
            )
            return Expr(after, terms, through(node, x.bias, x.shape))
    source = values.masked(x, node.name)
    return Expr(after, (Term(source, start(node, x.shape)),), through(node, None, x.shape))


def _folds(values: Materialiser, node: Conv | Dense | Scale, x: Expr) -> list[Fold] | None:
    if any(values.emitter.kind(t.source) != "masked" for t in x.terms):
        return None
    found = [fold(t.map, node, x.shape) for t in x.terms]
    folds = [f for f in found if f is not None]
    return folds if len(folds) == len(found) else None
