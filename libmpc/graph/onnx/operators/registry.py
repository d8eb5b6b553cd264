"""The form of a table entry: what reads one operator, and which attributes it knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.values import Value

Inputs: TypeAlias = Sequence["Value | None"]


@dataclass(frozen=True)
class Reader:
    """How one operator is read.

    Attributes:
        read: makes its outputs; called only if at least one input is secret.
        attributes: all that it may have; others are refused.
        constants: places of the inputs that must be constants.
        weights: places of those that may be secret, but are weights by nature.
        after_tail: whether it may follow what is left to the client.
        reshapes: whether it only reshapes, and so may follow softmax or sigmoid.
    """

    read: Callable[[Layer, Inputs], list[Value]]
    attributes: tuple[str, ...] = ()
    constants: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()
    after_tail: bool = False
    reshapes: bool = False


def at(inputs: Inputs, place: int) -> Value | None:
    """An input, or ``None`` where it is left out."""
    return inputs[place] if place < len(inputs) else None
