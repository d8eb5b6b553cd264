"""The class that ONNX's tools look for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper
from onnx.backend.base import Backend as OnnxBackend

from libmpc.errors import LibmpcError, ModelError
from libmpc.graph.onnx.container import MAX_OPSET, check_model
from libmpc.onnx_backend.engine import Engine, on_shares
from libmpc.onnx_backend.older import newer
from libmpc.onnx_backend.rep import Rep


class Backend(OnnxBackend):
    """Runs ONNX models on shares.

    Weights are the owner's constants and everything else is the client's input, so a model is
    built when its inputs are known: what an operator needs to be constant (weights, shapes, axes)
    is bound then.
    """

    engine: Engine = staticmethod(on_shares)

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether this backend may try the model at all: of a version that it knows."""
        try:
            check_model(newer(model))
        except LibmpcError:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> Rep:
        """A model that is ready to run; models of older opsets are converted first.

        Raises:
            ModelError: the model, or the device, is not supported.
        """
        if not cls.supports_device(device):
            raise ModelError(f"the device {device!a} is not supported, only CPU")
        known = newer(model)
        check_model(known)
        return Rep(known, cls.engine)

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Prepare a model and run it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one operator.

        Args:
            node: the operator.
            inputs: arrays, in the order of the node's inputs that are not left out.
            device: ``"CPU"``.
            outputs_info: type and shape of every output, where the caller knows them.
            kwargs: ``opset_version``, by default the newest that is supported.
        """
        names = [name for name in node.input if name]
        arrays = [np.asarray(value) for value in inputs]
        entries = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(names, arrays, strict=True)
        ]
        kinds = [dtype for dtype, _ in outputs_info or ()]
        kinds += [arrays[0].dtype if arrays else np.dtype(np.float32)] * len(node.output)
        results = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), None)
            for name, kind in zip(node.output, kinds, strict=False)
        ]
        graph = helper.make_graph([node], "node", entries, results)
        opset = helper.make_opsetid("", int(kwargs.get("opset_version", MAX_OPSET)))
        return cls.run_model(helper.make_model(graph, opset_imports=[opset]), arrays, device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Only the CPU."""
        return device.partition(":")[0] == "CPU"
