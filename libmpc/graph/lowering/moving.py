"""Moves and sums without constants, on expressions.

They are done on the values that an expression is made of where they can be, and otherwise on
what it makes, at scale 2^32; either way without a message.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from libmpc.graph import nodes
from libmpc.graph.lowering.bias import through
from libmpc.graph.lowering.constant import Constant, joined, moved
from libmpc.graph.lowering.expr import Expr, Term, value
from libmpc.graph.lowering.fold import fold
from libmpc.graph.lowering.maps import ConvMap, DenseMap, ScaleMap
from libmpc.graph.lowering.materialise import Materialiser
from libmpc.graph.nodes import Shape
from libmpc.graph.plan import (
    ConcatStep,
    ExpandStep,
    PadStep,
    PermuteStep,
    SliceStep,
    Step,
    SumPoolStep,
    SumStep,
    Window,
)

Moving: TypeAlias = (
    nodes.Transpose | nodes.Slice | nodes.Pad | nodes.Expand | nodes.Sum | nodes.SumPool
)


def move(values: Materialiser, node: Moving, x: Expr) -> Expr:
    """One value, moved or summed.

    1. Of a value itself: a step on it.
    2. Of a value times factors: a step on the value, and the same on the factors; for sums, where
       they are the same for all that is added.
    3. Sums of the result of a convolution or matrix: folded into it, where that costs no more.
    4. If there is a term for which none of these holds: a step on the expression's own value.
    """
    after = node.output_shape(x.shape)
    if isinstance(node, nodes.Pad) and node.value:
        return _padded(values, node, x, after)
    x = values.merged(x, node.name)
    terms = [_term(values, node, term, x.shape) for term in x.terms]
    found = tuple(term for term in terms if term is not None)
    if len(found) == len(terms):
        bias = x.bias
        if bias is not None:
            bias = _bias(node, bias.on(x.shape), after)
        return Expr(after, found, bias)
    index = values.additive(x, node.name)
    return value(values.emitter.put(step_of(node, index, x.shape), node.name), after)


def concat(values: Materialiser, node: nodes.Concat, parts: list[Expr]) -> Expr:
    """Values one after the other: at scale 2^16 where all are values, or values times factors."""
    shapes = tuple(part.shape for part in parts)
    after = node.output_shape(*shapes)
    parts = [values.merged(part, node.name) for part in parts]
    name, axis = node.name, node.axis
    if all(_scaled(values, part) for part in parts):
        sources = [_source(values, part, name) for part in parts]
        bias = None
        if any(part.bias is not None for part in parts):
            bias = joined([_constant(part.bias, part.shape, 0.0) for part in parts], axis, after)
        linear = None
        if any(part.terms[0].map is not None for part in parts):
            factor = joined([_factors(part) for part in parts], axis, after)
            names = [n for p in parts if (m := p.terms[0].map) is not None for n in m.names]
            linear = ScaleMap(tuple(names), after, factor.values)
        step = ConcatStep(inputs=tuple(sources), shapes=shapes, axis=axis)
        return Expr(after, (Term(values.emitter.put(step, name), linear),), bias)
    inputs = tuple(values.additive(part, name) for part in parts)
    step = ConcatStep(inputs=inputs, shapes=shapes, axis=axis)
    return value(values.emitter.put(step, name), after)


def step_of(node: Moving, source: int, shape: Shape, padding: int = 0) -> Step:
    """The plan's step for a node, on a value that it sees in ``shape``."""
    if isinstance(node, nodes.Transpose):
        return PermuteStep(source=source, shape=shape, order=node.order)
    if isinstance(node, nodes.Slice):
        return SliceStep(
            source=source,
            shape=shape,
            starts=node.starts,
            sizes=node.sizes,
            strides=node.strides,
        )
    if isinstance(node, nodes.Pad):
        return PadStep(
            source=source,
            shape=shape,
            before=node.before,
            after=node.after,
            between=node.between,
            value=padding,
        )
    if isinstance(node, nodes.Expand):
        return ExpandStep(source=source, shape=shape, target=node.shape)
    if isinstance(node, nodes.Sum):
        return SumStep(source=source, shape=shape, axes=node.axes)
    window = Window(
        height=shape[-3],
        width=shape[-2],
        channels=shape[-1],
        kernel=node.kernel,
        strides=node.strides,
        dilation=node.dilation,
        padding=node.padding,
    )
    return SumPoolStep(source=source, window=window, images=math.prod(shape[:-3]))


def _term(values: Materialiser, node: Moving, term: Term, shape: Shape) -> Term | None:
    linear = term.map
    if linear is None or isinstance(linear, ScaleMap):
        moving = None
        if linear is not None:
            moving = _factor(node, Constant(linear.shape, linear.factor).on(shape))
            if moving is None:
                return None
            moving = ScaleMap((*linear.names, node.name), moving.shape, moving.factor)
        index = values.emitter.put(step_of(node, term.source, shape), node.name)
        return Term(index, moving, term.coefficient)
    if isinstance(node, (nodes.Sum, nodes.SumPool)):
        assert isinstance(linear, (ConvMap, DenseMap))
        made = fold(linear, node, shape)
        if made is not None and made.cost <= linear.cost:
            return Term(term.source, made.build(), term.coefficient)
    return None


def _factor(node: Moving, factor: Constant) -> ScaleMap | None:
    """The factors that go with a moved value, as a map without a name."""
    after = node.output_shape(factor.shape)
    if isinstance(node, (nodes.Sum, nodes.SumPool)):
        axes = node.axes if isinstance(node, nodes.Sum) else (-3, -2)
        if factor.varies(*axes):
            return None
        values = factor.values
        if isinstance(node, nodes.Sum):
            values = values.reshape([d for a, d in enumerate(values.shape) if a not in axes] or [1])
        return ScaleMap((), after, values)
    if isinstance(node, nodes.Pad):
        gaps = zip(node.before, node.after, node.between, strict=True)
        if not factor.varies(*(axis for axis, gap in enumerate(gaps) if any(gap))):
            return ScaleMap((), after, factor.values)  # padding is 0, whatever its factor
    return ScaleMap((), after, moved(node, factor, after).values)


def _bias(node: Moving, bias: Constant, after: Shape) -> Constant | None:
    if isinstance(node, nodes.SumPool):
        return through(node, bias, bias.shape)
    return moved(node, bias, after)


def _padded(values: Materialiser, node: nodes.Pad, x: Expr, after: Shape) -> Expr:
    """Padding with a public number: in the value at scale 2^16, or as a part of the bias."""
    number = float(np.rint(np.ldexp(node.value, 16)))
    if not abs(number) < 2.0**31:
        raise node.refuse(f"cannot pad with {node.value:g}: it must stay below 32768 in size")
    if values.is_masked(x):
        index = values.masked(x, node.name)
        return value(
            values.emitter.put(step_of(node, index, x.shape, int(number)), node.name), after
        )
    zeros = nodes.Pad(node.name, node.inputs, node.before, node.after, node.between)
    made = move(values, zeros, Expr(x.shape, x.terms))
    bias = moved(node, _constant(x.bias, x.shape, 0.0), after)
    return Expr(after, made.terms, bias)


def _scaled(values: Materialiser, part: Expr) -> bool:
    """Whether a value is masked, or a masked one times factors, beside its bias."""
    if len(part.terms) != 1:
        return False
    (term,) = part.terms
    if isinstance(term.map, ScaleMap):
        return True
    return values.stands(term)


def _source(values: Materialiser, part: Expr, name: str) -> int:
    (term,) = part.terms
    if term.map is not None:
        return term.source
    return values.masked(Expr(part.shape, part.terms), name)


def _factors(part: Expr) -> Constant:
    (term,) = part.terms
    if not isinstance(term.map, ScaleMap):
        return _constant(None, part.shape, 1.0)
    factor = term.map.factor * float(term.coefficient)
    return Constant(term.map.shape, factor).on(part.shape)


def _constant(constant: Constant | None, shape: Shape, default: float) -> Constant:
    if constant is not None:
        return constant.on(shape)
    return Constant(shape, np.full((1,) * len(shape), default))
