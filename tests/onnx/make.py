"""Small ONNX models for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

X = "x"


def node(kind: str, inputs: str, outputs: str = "y", **attributes: Any) -> NodeProto:
    """A node; names of its values apart by spaces, ``_`` for one that is left out."""
    read = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(kind, read, outputs.split(), name=f"the {kind}", **attributes)


def model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int | str | None],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> ModelProto:
    """A model from ``x`` of this shape to ``y``."""
    weights = [
        numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(X, kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 10
    return made
