"""The walk over a network's nodes, each of which becomes an expression."""

from __future__ import annotations

import numpy as np
from pydantic import ValidationError

from libmpc.errors import ModelError
from libmpc.graph import nodes
from libmpc.graph.lowering import affine, comparing, moving
from libmpc.graph.lowering.emit import Emitter, plan_error
from libmpc.graph.lowering.expr import Expr, value
from libmpc.graph.lowering.finish import finish
from libmpc.graph.lowering.lowered import Lowered
from libmpc.graph.lowering.maps import ScaleMap
from libmpc.graph.lowering.materialise import Materialiser
from libmpc.graph.lowering.maxpool import max_pool
from libmpc.graph.lowering.passes import prepared
from libmpc.graph.nodes import Graph, Node
from libmpc.graph.plan import InputStep


def lower(graph: Graph) -> Lowered:
    """Lower a network to a plan.

    1. The network is put into a form that folds better (``passes``).
    2. Every node becomes an expression of what it reads: linear ones as far as possible without
       a step of their own (``moving``, ``affine``), the others as steps (``comparing``,
       ``maxpool``).
    3. An expression that several nodes read becomes a value as soon as it is there, unless it
       has no weights but factors.
    4. Steps of one kind that do not need each other become one; what nobody reads is dropped
       (``finish``).

    Raises:
        ModelError: it is beyond what a plan may have, or has a final activation before its end;
            names the layer.
    """
    graph, final, axis = _without_final(graph)
    walk = _Walk(prepared(graph))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
        for node in walk.graph.nodes:
            try:
                walk.visit(node)
            except ValidationError as error:
                raise plan_error(error, node.name) from None
        last = walk.graph.nodes[-1]
        expr = walk.found[last.name]
        output = walk.values.additive(expr, last.name)
    return finish(walk.values.emitter, output, expr.shape, final, axis, graph.shapes)


def _without_final(graph: Graph) -> tuple[Graph, nodes.FinalActivation | None, int]:
    *before, last = graph.nodes
    for node in before:
        if isinstance(node, nodes.Final):
            raise node.refuse(
                f"a {node.kind} is supported as the last layer only, where the client computes it"
            )
    if not isinstance(last, nodes.Final):
        return graph, None, -1
    rank = len(graph.shapes[last.name])
    (source,) = last.inputs
    kept = [node for node in before if node.name != source]
    [output] = [node for node in before if node.name == source]
    shapes = {node.name: graph.shapes[node.name] for node in before}
    axis = last.axis if last.axis < 0 else last.axis - rank
    return Graph((*kept, output), shapes), last.kind, axis


_MOVES = (nodes.Transpose, nodes.Slice, nodes.Pad, nodes.Expand, nodes.Sum, nodes.SumPool)


class _Walk:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values = Materialiser(Emitter())
        self.found: dict[str, Expr] = {}
        self._reads = graph.readers
        self._rounded = {name for node in graph.nodes if _rounds(node) for name in node.inputs}
        self._folded = {name for node in graph.nodes if _folds(node) for name in node.inputs}

    def visit(self, node: Node) -> None:
        """The expression of a node, as a value where several nodes read it."""
        expr = self._expr(node, [self.found[name] for name in node.inputs])
        if self._reads[node.name] > 1:
            expr = self._pinned(node, expr)
        self.found[node.name] = expr

    def _expr(self, node: Node, parts: list[Expr]) -> Expr:
        values = self.values
        if isinstance(node, nodes.Input):
            return value(values.emitter.put(InputStep(shape=node.shape), node.name), node.shape)
        if isinstance(node, nodes.Add):
            return affine.add(values, node, parts)
        if isinstance(node, nodes.Concat):
            return moving.concat(values, node, parts)
        if isinstance(node, nodes.Multiply):
            return comparing.multiply(values, node, *parts)
        if isinstance(node, (nodes.Maximum, nodes.Minimum)):
            return comparing.maximum(values, node, *parts)
        return self._unary(node, parts[0])

    def _unary(self, node: Node, x: Expr) -> Expr:
        values = self.values
        if isinstance(node, nodes.Reshape):
            return Expr(node.shape, x.terms, x.bias)
        if isinstance(node, nodes.Scale):
            return affine.scale(values, node, x)
        if isinstance(node, (nodes.Conv, nodes.Dense)):
            return affine.weighted(values, node, x)
        if isinstance(node, _MOVES):
            return moving.move(values, node, x)
        if isinstance(node, nodes.Relu):
            return comparing.relu(values, node, x)
        if isinstance(node, nodes.Sign):
            return comparing.sign(values, node, x)
        if isinstance(node, nodes.MaxPool):
            source = values.masked(x, node.name)
            index = max_pool(values.emitter, node, source, x.shape)
            return value(index, node.output_shape(x.shape))
        raise ModelError(f"layer {node.name!r}: {type(node).__name__} cannot be lowered")

    def _pinned(self, node: Node, expr: Expr) -> Expr:
        """The value that several nodes read.

        Masked values times factors stay an expression, if a reader may fold the factors. If a
        reader needs scale 2^16, the value is rounded down at once, so that a ReLU that reads it as
        well has less to do.
        """
        light = all(t.map is None or isinstance(t.map, ScaleMap) for t in expr.terms)
        masked = all(self.values.emitter.kind(t.source) == "masked" for t in expr.terms)
        if light and masked and node.name in self._folded:
            return expr
        if expr.itself is None and not self.values.is_masked(expr):
            expr = value(self.values.additive(expr, node.name), expr.shape)
        if node.name in self._rounded:
            self.values.masked(expr, node.name)
        return expr


def _folds(node: Node) -> bool:
    """Whether a node may fold factors of what it reads, or pass them on."""
    return isinstance(node, (*_MOVES, nodes.Reshape, nodes.Concat)) or _rounds(node)


def _rounds(node: Node) -> bool:
    """Whether a node needs what it reads at scale 2^16."""
    if isinstance(node, nodes.Scale):
        return affine.public_factor(node) is None
    return isinstance(node, (nodes.Conv, nodes.Dense, nodes.Multiply, nodes.MaxPool, nodes.Sign))
