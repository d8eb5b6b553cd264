"""From an expression to steps that compute it."""

from __future__ import annotations

import numpy as np

from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.emit import Emitter
from libmpc.graph.lowering.expr import Expr, Term
from libmpc.graph.lowering.maps import ConvMap, DenseMap, LinearMap, ScaleMap
from libmpc.graph.nodes import Floats, Shape
from libmpc.graph.plan import BiasStep, ConvStep, DenseStep, ScaleStep, SumPoolStep


class Materialiser:
    """Computes every expression once, in each of the two kinds.

    1. The masked values that stand in it as they are become one, by an add step.
    2. Every map becomes a linear step, after its sums over windows, in order of the terms.
    3. The bias goes into the first of these steps that has room for it, by shape: one for each
       output of a matrix, filter of a convolution, or factor of a scale.
    4. All are added; what is masked is lifted for that. A bias that found no room is added last,
       by a step of its own.
    """

    def __init__(self, emitter: Emitter) -> None:
        self.emitter = emitter
        self._additive: dict[Expr, int] = {}
        self._masked: dict[Expr, int] = {}

    def additive(self, expr: Expr, name: str) -> int:
        """The step that has the value at scale 2^32."""
        found = self._additive.get(expr)
        if found is None:
            found = self._additive[expr] = self._sum(self.merged(expr, name), name)
        return found

    def masked(self, expr: Expr, name: str) -> int:
        """The step that has the value at scale 2^16, rounded down where it has to be."""
        found = self._masked.get(expr)
        if found is None:
            itself = self.merged(expr, name).itself
            if itself is None:
                itself = self._masked_multiple(expr, name)
            index = self.additive(expr, name) if itself is None else itself
            found = self._masked[expr] = self.emitter.masked(index, name)
        return found

    def is_masked(self, expr: Expr) -> bool:
        """Whether ``masked`` needs no message."""
        if expr in self._masked:
            return True
        itself = expr.itself
        if itself is None and expr in self._additive:
            itself = self._additive[expr]
        if itself is not None:
            return self.emitter.is_masked(itself)
        return expr.bias is None and all(self.stands(term) for term in expr.terms)

    def stands(self, term: Term) -> bool:
        """Whether a term is a masked value as it stands, or a multiple of it."""
        return term.map is None and self.emitter.kind(term.source) == "masked"

    def merged(self, expr: Expr, name: str) -> Expr:
        """The same, with at most one masked value that stands as it is."""
        standing = [term for term in expr.terms if self.stands(term)]
        if len(standing) < 2:
            return expr
        sources = [term.source for term in standing]
        factors = [term.coefficient for term in standing]
        one = Term(self.emitter.add(sources, factors, expr.shape, name))
        terms: list[Term] = []
        for term in expr.terms:
            if not self.stands(term):
                terms.append(term)
            elif term is standing[0]:
                terms.append(one)
        return Expr(expr.shape, tuple(terms), expr.bias)

    def _masked_multiple(self, expr: Expr, name: str) -> int | None:
        if expr.bias is not None or not all(self.stands(term) for term in expr.terms):
            return None
        sources = [term.source for term in expr.terms]
        factors = [term.coefficient for term in expr.terms]
        return self.emitter.add(sources, factors, expr.shape, name)

    def _sum(self, expr: Expr, name: str) -> int:
        bias = expr.bias
        found: list[int] = []
        factors: list[int] = []
        for term in expr.terms:
            if term.map is None:
                found.append(self.emitter.additive(term.source, name))
                factors.append(term.coefficient)
                continue
            home = None if bias is None else _room(term.map, bias)
            found.append(self._linear(term, term.map, home))
            factors.append(1)
            bias = bias if home is None else None
        total = self.emitter.add(found, factors, expr.shape, name)
        if bias is None:
            return total
        values = bias.on(expr.shape).values
        step = BiasStep(source=total, shape=expr.shape, factor_shape=values.shape)
        return self.emitter.linear(step, name, np.zeros(0), values)

    def _linear(self, term: Term, linear: LinearMap, bias: Constant | None) -> int:
        source = term.source
        sign = term.coefficient
        name = " + ".join(linear.names)
        for pooling, window in () if isinstance(linear, ScaleMap) else linear.sums:
            images = self.emitter.steps[source].size // window.input_size
            pool = SumPoolStep(source=source, window=window, images=images)
            source = self.emitter.put(pool, pooling)
        if isinstance(linear, DenseMap):
            inputs, outputs = linear.weights.shape
            dense = DenseStep(source=source, rows=linear.rows, inputs=inputs, outputs=outputs)
            values = _last(bias, outputs)
            return self.emitter.linear(dense, name, _times(linear.weights, sign), values)
        if isinstance(linear, ConvMap):
            conv = ConvStep(
                source=source,
                window=linear.window,
                filters=linear.kernel.shape[3],
                groups=linear.groups,
                images=linear.images,
            )
            weights = linear.kernel.reshape(conv.weight_shape)
            return self.emitter.linear(conv, name, _times(weights, sign), _last(bias, conv.filters))
        dims = linear.factor.shape
        if bias is not None:
            dims = np.broadcast_shapes(dims, bias.values.shape)
        factors = np.broadcast_to(linear.factor, dims) * float(sign)
        values = np.zeros(dims) if bias is None else np.broadcast_to(bias.values, dims).copy()
        scale = ScaleStep(source=source, shape=linear.shape, factor_shape=dims)
        return self.emitter.linear(scale, name, factors, values)


def _room(linear: LinearMap, bias: Constant) -> Constant | None:
    """The bias as the step of a map takes it, or nothing where it does not fit."""
    shape = natural(linear)
    seen = bias.on(shape)
    if isinstance(linear, (ConvMap, DenseMap)):
        return None if seen.along_last() is None else seen
    dims = np.broadcast_shapes(seen.values.shape, linear.factor.shape)
    return seen if dims in (seen.values.shape, linear.factor.shape) else None


def _times(weights: Floats, factor: int) -> Floats:
    return weights if factor == 1 else weights * float(factor)


def _last(bias: Constant | None, count: int) -> Floats:
    values = None if bias is None else bias.along_last()
    return np.zeros(count) if values is None else values.copy()


def natural(linear: LinearMap) -> Shape:
    """The shape that a map's result has by itself."""
    if isinstance(linear, ConvMap):
        return (linear.images, *linear.after)
    if isinstance(linear, DenseMap):
        return (linear.rows, linear.weights.shape[1])
    return linear.shape
