"""Models of older opsets, brought to the oldest that the importer reads."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, helper, numpy_helper, shape_inference, version_converter

from libmpc.errors import ModelError
from libmpc.graph.onnx.container import MIN_OPSET

_CHANNEL_SLOPES = 7  # before it a slope of PRelu had one value for each channel


def newer(model: ModelProto) -> ModelProto:
    """The model in the oldest opset that is supported, if it is older.

    Raises:
        ModelError: ONNX's own converter cannot do it.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", MIN_OPSET)
    if version >= MIN_OPSET:
        return model
    try:
        ranks = _ranks(model) if version < _CHANNEL_SLOPES else {}
        converted: ModelProto = version_converter.convert_version(model, MIN_OPSET)
    except Exception as error:  # noqa: BLE001 - the converter, in C++, raises what it likes
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"ONNX's converter cannot bring the model to opset {MIN_OPSET}: {reason}"
        ) from None
    if version < _CHANNEL_SLOPES:
        _spread_slopes(converted, ranks)
    return converted


def _ranks(model: ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model).graph
    entries = [*graph.input, *graph.output, *graph.value_info]
    return {entry.name: len(entry.type.tensor_type.shape.dim) for entry in entries}


def _spread_slopes(model: ModelProto, ranks: dict[str, int]) -> None:
    """What the converter leaves undone: slopes by channel, by numpy's rules."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for number, node in enumerate(nodes):
        if node.op_type == "PRelu" and ranks.get(node.input[1]) == 1:
            across = [-1] + [1] * max(ranks.get(node.input[0], 2) - 2, 0)
            shape, slope = f"slope shape {number}", f"slope {number}"
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(across), shape))
            model.graph.node.append(helper.make_node("Reshape", [node.input[1], shape], [slope]))
            node.input[1] = slope
        model.graph.node.append(node)
