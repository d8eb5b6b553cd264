"""Which inputs of a model are the owner's constants: those that an operator needs to be known."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import NodeProto

from libmpc.graph.onnx.operators import READERS

# These need no constants and make them: sizes only.
_SHAPES = ("Shape", "Size")
# All that they read must be known, since what they make is no number of a network.
_KNOWN = ("ConstantOfShape", "Range")


def constant_names(nodes: Iterable[NodeProto]) -> set[str]:
    """The values that must be constants, and what these are computed from, back to the inputs."""
    listed = list(nodes)
    made = {name for node in listed for name in node.output}
    needed: set[str] = set()
    for node in reversed(listed):
        if node.op_type in _SHAPES:
            continue
        if node.op_type in _KNOWN or needed & set(node.output):
            needed.update(name for name in node.input if name)
            continue
        reader = READERS.get(node.op_type)
        for place in reader.constants if reader else ():
            if place < len(node.input) and node.input[place]:
                needed.add(node.input[place])
        for place in reader.weights if reader else ():
            if place < len(node.input) and node.input[place] not in made:
                needed.add(node.input[place])
    return needed
