"""The client's part of a run: rounding at the very end, softmax and its like, element types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.reference import ReferenceEvaluator

from libmpc.graph.floating import apply_final
from libmpc.graph.nodes import Floats
from libmpc.graph.onnx.tensors import Array
from libmpc.graph.onnx.values import Tail

_CASTS = ("Cast", "CastLike")


@dataclass(frozen=True)
class Ending:
    """The conversion that makes an output, done in the clear."""

    node: NodeProto
    opset: int

    def convert(self, value: Array, like: Array | None) -> Array:
        """The output's value; ``like`` is what CastLike takes its type from."""
        arrays = [value] if like is None else [value, like]
        names: list[str] = list(self.node.input)
        feeds = dict(zip(names, arrays, strict=True))
        entries = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
        ]
        result = helper.make_tensor_value_info(self.node.output[0], TensorProto.UNDEFINED, None)
        graph = helper.make_graph([self.node], "end", entries, [result])
        opset = [helper.make_opsetid("", self.opset)]
        run: Any = ReferenceEvaluator(helper.make_model(graph, opset_imports=opset))
        return np.asarray(run.run(None, feeds)[0])


def without_endings(model: ModelProto) -> tuple[ModelProto, dict[str, Ending]]:
    """The model without conversions that make its outputs, and these by the output's name."""
    outputs = {entry.name for entry in model.graph.output}
    read = {name for node in model.graph.node for name in node.input}
    (opset,) = [e.version for e in model.opset_import if e.domain in ("", "ai.onnx")][:1]
    endings = {
        node.output[0]: Ending(node, opset)
        for node in model.graph.node
        if node.op_type in _CASTS and node.output[0] in outputs - read
    }
    if not endings:
        return model, {}
    shorter = ModelProto()
    shorter.CopyFrom(model)
    kept = [n for n in model.graph.node if not (n.output and n.output[0] in endings)]
    del shorter.graph.node[:]
    shorter.graph.node.extend(kept)
    return shorter, endings


def finish(values: Floats, tail: Tail | None) -> Array:
    """What the client makes of logits of ONNX's shape."""
    if tail is None:
        return values
    if tail.kind != "argmax":
        made: Array = apply_final(tail.kind, values[np.newaxis], tail.axis)[0]
        return made
    size = values.shape[tail.axis]
    if tail.last:
        found = size - 1 - np.argmax(np.flip(values, tail.axis), tail.axis)
    else:
        found = np.argmax(values, tail.axis)
    return np.asarray(np.expand_dims(found, tail.axis) if tail.keep else found)


def typed(values: Array, kind: np.dtype[np.generic]) -> Array:
    """Numbers in an output's element type; integers wrap, as they do in ONNX."""
    if kind.kind in "iu" and values.dtype.kind == "f":
        return np.rint(values).astype(np.int64).astype(kind)
    return values.astype(kind)
