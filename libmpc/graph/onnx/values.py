"""What a name in an ONNX graph stands for while it is imported: a constant array, or a secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from libmpc.graph.nodes import FinalActivation, Shape
from libmpc.graph.onnx.tensors import Array


@dataclass(frozen=True, eq=False)
class Tail:
    """What the client does with a value in the clear; ``axis`` counts from the end."""

    layer: str
    kind: FinalActivation
    axis: int = -1
    keep: bool = True
    last: bool = False


@dataclass(frozen=True, eq=False)
class Secret:
    """A value that depends on the client's input.

    Attributes:
        name: of the node that makes it, in the graph under construction.
        shape: as ONNX has it, batch axis and all; ``()`` is (1,) in the graph.
        integer: whether ONNX calls it an integer: then an operator may only make integers of it.
        tail: what is left to the client, after which nothing else may come.
    """

    name: str
    shape: Shape
    integer: bool = False
    tail: Tail | None = None


Value: TypeAlias = Secret | Array
