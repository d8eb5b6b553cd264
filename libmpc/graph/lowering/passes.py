"""What is done to a network before it is lowered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from libmpc.graph import nodes
from libmpc.graph.lowering.constant import Constant
from libmpc.graph.lowering.transposes import without_transposes
from libmpc.graph.lowering.upsampling import without_stuffing
from libmpc.graph.nodes import Floats, Graph, Node

_WEIGHTED = (nodes.Conv, nodes.Dense, nodes.Scale)
_SHAPING = (nodes.Slice, nodes.Reshape, nodes.Transpose)


def prepared(graph: Graph) -> Graph:
    """The same network in a form that folds better.

    1. Transposed convolutions lose the zeros between the pixels (``upsampling``).
    2. Factors and offsets go before a slice of a layer with weights, if all three alone read
       each other, and they are the same along the axes that are cut.
    3. Transposes cancel (``transposes``).
    4. A max pooling that only a ReLU reads changes places with it: the ReLU rounds, which pooling
       then need not. The result is the same to the bit.
    5. Zeros around images that only a convolution reads become its padding.
    6. Factors and offsets that alone read a concatenation go to its parts, if one of these alone
       is read there and has weights, with which they fold.
    """
    graph = without_transposes(_until_done(_scale_before_slice, without_stuffing(graph)))
    graph = _until_done(_relu_before_pooling, graph)
    graph = _padding_in_convolutions(graph)
    return _until_done(_scale_before_concat, graph)


def _until_done(change: Callable[[Graph], Graph | None], graph: Graph) -> Graph:
    while (changed := change(graph)) is not None:
        graph = changed
    return graph


def _relu_before_pooling(graph: Graph) -> Graph | None:
    readers = graph.readers
    by_name = {node.name: node for node in graph.nodes}
    changed: dict[str, Node] = {}
    shapes = dict(graph.shapes)
    for node in graph.nodes:
        if not isinstance(node, nodes.Relu):
            continue
        (source,) = node.inputs
        pool = by_name[source]
        if isinstance(pool, nodes.MaxPool) and readers[source] == 1 and source not in changed:
            # Each takes the other's place and name, so that whoever reads the ReLU reads the pool.
            changed[source] = nodes.Relu(source, pool.inputs)
            changed[node.name] = dataclasses.replace(pool, name=node.name, inputs=(source,))
            shapes[source] = graph.shapes[pool.inputs[0]]
    if not changed:
        return None
    return Graph(tuple(changed.get(node.name, node) for node in graph.nodes), shapes)


def _scale_before_slice(graph: Graph) -> Graph | None:
    readers = graph.readers
    by_name = {node.name: node for node in graph.nodes}
    changed: dict[str, Node] = {}
    shapes = dict(graph.shapes)
    for node in graph.nodes:
        cut = by_name[node.inputs[0]] if isinstance(node, nodes.Scale) else None
        if not isinstance(node, nodes.Scale) or not isinstance(cut, nodes.Slice):
            continue
        whole = shapes[cut.inputs[0]]
        places = zip(whole, cut.sizes, cut.strides, strict=True)
        axes = [a for a, (dim, size, step) in enumerate(places) if size != dim or step != 1]
        constants = [Constant.of(c, cut.sizes) for c in (node.factor, node.offset)]
        if any(constant.varies(*axes) for constant in constants) or cut.name in changed:
            continue
        origin: Node = cut
        while isinstance(origin, _SHAPING) and readers[origin.name] == 1:
            origin = by_name[origin.inputs[0]]
        if isinstance(origin, _WEIGHTED) and readers[origin.name] == 1:
            changed[cut.name] = dataclasses.replace(node, name=cut.name, inputs=cut.inputs)
            changed[node.name] = dataclasses.replace(cut, name=node.name, inputs=(cut.name,))
            shapes[cut.name] = whole
    if not changed:
        return None
    return Graph(tuple(changed.get(node.name, node) for node in graph.nodes), shapes)


def _padding_in_convolutions(graph: Graph) -> Graph:
    readers = graph.readers
    made: dict[str, Node] = {}
    gone: set[str] = set()
    by_name = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        pad = by_name[node.inputs[0]] if isinstance(node, nodes.Conv) else None
        if not isinstance(node, nodes.Conv) or not isinstance(pad, nodes.Pad):
            continue
        before, after = pad.before, pad.after
        elsewhere = (*before[:-3], before[-1], *after[:-3], after[-1], *pad.between)
        if readers[pad.name] > 1 or pad.value or any(elsewhere):
            continue
        around = (before[-3], after[-3], before[-2], after[-2])
        top, bottom, left, right = (a + b for a, b in zip(node.padding, around, strict=True))
        sides = (top, bottom, left, right)
        made[node.name] = dataclasses.replace(node, inputs=pad.inputs, padding=sides)
        gone.add(pad.name)
    kept = tuple(made.get(node.name, node) for node in graph.nodes if node.name not in gone)
    return Graph(kept, {node.name: graph.shapes[node.name] for node in kept})


def _scale_before_concat(graph: Graph) -> Graph | None:
    readers = graph.readers
    by_name = {node.name: node for node in graph.nodes}
    made: dict[str, list[Node]] = {}
    gone: set[str] = set()
    shapes = dict(graph.shapes)
    for node in graph.nodes:
        concat = by_name[node.inputs[0]] if isinstance(node, nodes.Scale) else None
        if not isinstance(node, nodes.Scale) or not isinstance(concat, nodes.Concat):
            continue
        weighted = [isinstance(by_name[part], _WEIGHTED) for part in concat.inputs]
        alone = [readers[part] == 1 for part in concat.inputs]
        if readers[concat.name] > 1 or not any(map(all, zip(weighted, alone, strict=True))):
            continue
        parts = _scaled_parts(node, concat, shapes)
        shapes |= {part.name: shapes[part.inputs[0]] for part in parts}
        joined = dataclasses.replace(concat, name=node.name, inputs=tuple(p.name for p in parts))
        made[node.name] = [*parts, joined]
        gone.add(concat.name)
    if not made:
        return None
    kept = [node for node in graph.nodes if node.name not in gone]
    after = tuple(new for node in kept for new in made.get(node.name, [node]))
    return Graph(after, {node.name: shapes[node.name] for node in after})


def _scaled_parts(
    node: nodes.Scale, concat: nodes.Concat, shapes: dict[str, nodes.Shape]
) -> list[nodes.Scale]:
    whole = shapes[node.name]
    start, number = 0, 1
    parts: list[nodes.Scale] = []
    for source in concat.inputs:
        size = shapes[source][concat.axis]
        taken = slice(start, start + size)
        start += size
        number += 1
        while (name := f"{node.name}:{number}") in shapes:
            number += 1
        constants = [_part(c, whole, concat.axis, taken) for c in (node.factor, node.offset)]
        parts.append(nodes.Scale(name, (source,), *constants))
    return parts


def _part(array: Floats, shape: nodes.Shape, axis: int, taken: slice) -> Floats:
    constant = Constant.of(array, shape)
    if array.size == 1 or not constant.varies(axis):
        return array
    index = tuple(taken if a == axis else slice(None) for a in range(len(shape)))
    values: Floats = np.ascontiguousarray(constant.values[index])
    return values
