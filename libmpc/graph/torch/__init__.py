"""PyTorch modules: exported to ONNX in memory by PyTorch itself, and read as an ONNX file is.

PyTorch is imported when a module is read, and only then; whoever has a module has PyTorch.
"""

from libmpc.graph.torch.importer import is_module, read_torch

__all__ = ["is_module", "read_torch"]
