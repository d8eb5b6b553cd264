"""ONNX's backend interface (``onnx.backend.base``), by running models on shares in this process.

It is there to be tested: ONNX's own conformance tests run against it. One process plays all three
parties, so it protects nothing.
"""

from libmpc.onnx_backend.backend import Backend
from libmpc.onnx_backend.rep import Rep

prepare = Backend.prepare
run_model = Backend.run_model
run_node = Backend.run_node
supports_device = Backend.supports_device
is_compatible = Backend.is_compatible

__all__ = [
    "Backend",
    "Rep",
    "is_compatible",
    "prepare",
    "run_model",
    "run_node",
    "supports_device",
]
