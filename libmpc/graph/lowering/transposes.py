"""Moves transposes towards the output, until they cancel or a matrix takes them in.

Networks whose images have their channels first are full of pairs of them. A transpose costs no
message, but what stands between two linear layers keeps them from being folded.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from libmpc.graph import nodes
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.lowering.views import View, alike
from libmpc.graph.nodes import Graph, Node, Shape


def without_transposes(graph: Graph) -> Graph:
    """The same network with as few transposes as may be.

    1. What works element by element works on the values as they stand, its constants in their
       order; of several inputs, those that stand in another order than the first are transposed.
    2. Sums, slices, padding and concatenation work on the axes as they stand, where each axis
       that they change is one.
    3. A matrix on all values, or on the axes that stand last, has its rows in their order.
    4. Everything else, and the output, gets the values in the order in which it sees them.
    """
    first, *rest = graph.nodes
    rewriter = _Rewriter(GraphBuilder(graph.shapes[first.name], first.name))
    views = {first.name: View.plain(first.name, graph.shapes[first.name])}
    for node in rest:
        views[node.name] = rewriter.rewrite(node, [views[name] for name in node.inputs])
    last = graph.nodes[-1].name
    return rewriter.builder.graph(rewriter.seen(views[last], last))


class _Rewriter:
    def __init__(self, builder: GraphBuilder) -> None:
        self.builder = builder

    def seen(self, view: View, layer: str) -> str:
        """The value as it is seen."""
        base = view.base
        if not view.straight:
            base = self.builder.transpose(_moved(layer), self.stands(view, layer), view.order)
        return self.builder.reshape(_moved(layer), base, view.shape)

    def stands(self, view: View, layer: str) -> str:
        """The value as it stands, in the shape ``dims``."""
        return self.builder.reshape(_moved(layer), view.base, view.dims or (1,))

    def rewrite(self, node: Node, views: list[View]) -> View:
        """A node on values as they stand."""
        x = views[0]
        if isinstance(node, nodes.Transpose):
            return x.transposed(node.order)
        if isinstance(node, nodes.Reshape):
            found = x.reshaped(node.shape)
            return found or View.plain(self.seen(x, node.name), node.shape)
        if all(view.straight for view in views):
            return self._plain(node, views)
        rule = _RULES.get(type(node))
        found = None if rule is None else rule(self, node, views)
        return found or self._plain(node, views)

    def put(self, node: Node, inputs: list[str], **changes: Any) -> str:
        """The same node with other inputs."""
        name = self.builder.name(node.name)
        return self.builder.add(
            dataclasses.replace(node, name=name, inputs=tuple(inputs), **changes)
        )

    def _plain(self, node: Node, views: list[View]) -> View:
        name = self.put(node, [self.seen(view, node.name) for view in views])
        return View.plain(name, self.builder.shapes[name])

    def elementwise(self, node: Node, views: list[View]) -> View:
        """The first input that is out of order says how all stand."""
        model = next(view for view in views if not view.straight)
        bases: list[str] = []
        for view in views:
            if alike(view, model):
                bases.append(self.stands(view, node.name))
            else:
                ordered = tuple(model.dims[axis] for axis in model.order)
                plain = self.builder.reshape(_moved(node.name), self.seen(view, node.name), ordered)
                bases.append(self.builder.transpose(_moved(node.name), plain, model.inverse))
        return model.on(self.put(node, bases))

    def scale(self, node: nodes.Scale, views: list[View]) -> View:
        (x,) = views
        factor, offset = (
            c.reshape(1) if c.size == 1 else x.constant(c) for c in (node.factor, node.offset)
        )
        return x.on(self.put(node, [self.stands(x, node.name)], factor=factor, offset=offset))

    def sum(self, node: nodes.Sum, views: list[View]) -> View:
        (x,) = views
        axes = tuple(sorted(axis for a in node.axes for axis in x.groups[a]))
        base = self.stands(x, node.name)
        if axes:
            base = self.put(node, [base], axes=axes)
        kept = [axis for axis in range(len(x.dims)) if axis not in axes]
        order = tuple(kept.index(axis) for axis in x.order if axis in kept)
        shape = tuple(d for a, d in enumerate(x.shape) if a not in node.axes) or (1,)
        return View(base, tuple(x.dims[axis] for axis in kept), order, shape)

    def slice(self, node: nodes.Slice, views: list[View]) -> View | None:
        (x,) = views
        starts, sizes, strides = [0] * len(x.dims), list(x.dims), [1] * len(x.dims)
        places = zip(x.shape, x.groups, node.starts, node.sizes, node.strides, strict=True)
        for dim, group, start, size, stride in places:
            if (size == dim and stride == 1) or dim == 1:
                continue
            if len(group) != 1:
                return None
            starts[group[0]], sizes[group[0]], strides[group[0]] = start, size, stride
        changes = {"starts": tuple(starts), "sizes": tuple(sizes), "strides": tuple(strides)}
        return self._resized(x, self.put(node, [self.stands(x, node.name)], **changes), node.sizes)

    def pad(self, node: nodes.Pad, views: list[View]) -> View | None:
        (x,) = views
        gaps = np.zeros((3, len(x.dims)), np.int64)
        for group, *gap in zip(x.groups, node.before, node.after, node.between, strict=True):
            if not any(gap):
                continue
            if len(group) != 1:
                return None
            gaps[:, group[0]] = gap
        before, after, between = (tuple(int(g) for g in row) for row in gaps)
        base = self.stands(x, node.name)
        name = self.put(node, [base], before=before, after=after, between=between)
        return self._resized(x, name, node.output_shape(x.shape))

    def concat(self, node: nodes.Concat, views: list[View]) -> View | None:
        model = views[0]
        group = model.groups[node.axis]
        for view in views:
            rest = [d for axis, d in enumerate(view.dims) if axis not in group]
            expected = [d for axis, d in enumerate(model.dims) if axis not in group]
            if view.order != model.order or view.groups != model.groups or rest != expected:
                return None
        if len(group) != 1:
            return None
        bases = [self.stands(view, node.name) for view in views]
        name = self.put(node, bases, axis=group[0])
        return self._resized(model, name, node.output_shape(*(view.shape for view in views)))

    def dense(self, node: nodes.Dense, views: list[View]) -> View | None:
        (x,) = views
        group = x.groups[-1]
        lead = x.order[: len(x.order) - len(group)]
        if sorted(group) != list(range(len(lead), len(x.dims))):
            return None
        rows = node.weights.reshape(*(x.dims[axis] for axis in group), -1)
        back = [int(i) for i in np.argsort(group)]
        weights = rows.transpose(*back, len(group)).reshape(node.weights.shape)
        dims = (*x.dims[: len(lead)], math.prod(x.dims[axis] for axis in group))
        base = self.builder.reshape(_moved(node.name), x.base, dims)
        name = self.put(node, [base], weights=weights)
        outputs = node.weights.shape[1]
        made = (*x.dims[: len(lead)], outputs) if outputs > 1 else x.dims[: len(lead)]
        order = (*lead, len(lead)) if outputs > 1 else lead
        return View(name, made, order, (*x.shape[:-1], outputs))

    def _resized(self, x: View, name: str, shape: Shape) -> View:
        """The view of a value whose axes have other sizes than before; those of 1 go."""
        sizes = self.builder.shapes[name]
        kept = [axis for axis, size in enumerate(sizes) if size > 1]
        order = tuple(kept.index(axis) for axis in x.order if axis in kept)
        return View(name, tuple(sizes[axis] for axis in kept), order, shape)


def _moved(layer: str) -> str:
    """A name for moves before a layer, so that the layer keeps its own."""
    return f"{layer} (moved)"


_RULES: dict[type[Node], Callable[..., View | None]] = {
    nodes.Relu: _Rewriter.elementwise,
    nodes.Sign: _Rewriter.elementwise,
    nodes.Add: _Rewriter.elementwise,
    nodes.Multiply: _Rewriter.elementwise,
    nodes.Maximum: _Rewriter.elementwise,
    nodes.Minimum: _Rewriter.elementwise,
    nodes.Scale: _Rewriter.scale,
    nodes.Sum: _Rewriter.sum,
    nodes.Slice: _Rewriter.slice,
    nodes.Pad: _Rewriter.pad,
    nodes.Concat: _Rewriter.concat,
    nodes.Dense: _Rewriter.dense,
}
