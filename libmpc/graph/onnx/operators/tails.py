"""What is left to the client: softmax and its like, at the very end of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from libmpc.graph.nodes import FinalActivation
from libmpc.graph.onnx.layer import Layer
from libmpc.graph.onnx.operators.registry import Inputs, Reader, at
from libmpc.graph.onnx.values import Tail, Value


def _along(kind: FinalActivation) -> Callable[[Layer, Inputs], list[Value]]:
    def read(layer: Layer, inputs: Inputs) -> list[Value]:
        x = layer.real(at(inputs, 0))
        rank = len(x.shape)
        axis = layer.op.axis(-1, rank) - rank
        return [replace(x, tail=Tail(layer.op.name, kind, axis))]

    return read


def _sigmoid(layer: Layer, inputs: Inputs) -> list[Value]:
    x = layer.real(at(inputs, 0))
    return [replace(x, tail=Tail(layer.op.name, "sigmoid"))]


def _argmax(layer: Layer, inputs: Inputs) -> list[Value]:
    """Softmax and sigmoid before it rise with what they read, and change nothing."""
    x = layer.secret(at(inputs, 0))
    rank = len(x.shape)
    axis = layer.op.axis(0, rank)
    before = x.tail
    along = before is not None and before.kind in ("softmax", "log_softmax")
    if before is not None and (before.kind == "argmax" or (along and before.axis != axis - rank)):
        raise layer.refuse(f"cannot follow {before.kind} of layer {before.layer!r}")
    keep = layer.op.flag("keepdims", default=True)
    last = layer.op.flag("select_last_index")
    kept = x.shape[:axis] + ((1,) if keep else ()) + x.shape[axis + 1 :]
    tail = Tail(layer.op.name, "argmax", axis - rank, keep, last)
    return [replace(x, shape=kept, tail=tail, integer=True)]


READERS = {
    "ArgMax": Reader(_argmax, ("axis", "keepdims", "select_last_index"), after_tail=True),
    "LogSoftmax": Reader(_along("log_softmax"), ("axis",)),
    "Sigmoid": Reader(_sigmoid),
    "Softmax": Reader(_along("softmax"), ("axis",)),
}
