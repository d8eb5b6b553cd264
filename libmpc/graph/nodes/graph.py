"""The network that nodes make."""

from __future__ import annotations

from dataclasses import dataclass

from libmpc.graph.nodes.base import Node, Shape


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The client's input; it reads nothing."""

    shape: Shape

    def output_shape(self, *shapes: Shape) -> Shape:
        return self.shape


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: one ``Input``, which comes first; every node follows what it reads; the last node
    is the output. Made and checked by ``builder.GraphBuilder``.

    Attributes:
        nodes: in order.
        shapes: of every node's value, by name.
    """

    nodes: tuple[Node, ...]
    shapes: dict[str, Shape]

    @property
    def readers(self) -> dict[str, int]:
        """How many reads every value has; the last node's counts as read once more."""
        count = {node.name: 0 for node in self.nodes}
        count[self.nodes[-1].name] = 1
        for node in self.nodes:
            for name in node.inputs:
                count[name] += 1
        return count
