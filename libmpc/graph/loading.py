"""Which importer reads what; each is imported only when it is needed."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from libmpc.errors import InputError, ModelError
from libmpc.graph.nodes import Graph


def read_file(path: str | os.PathLike[str]) -> Graph:
    """The network in a file, by its ending: ``.h5``, ``.hdf5`` and ``.keras``, or ``.onnx``.

    Raises:
        ModelError: it is none of these, or its importer refuses it.
    """
    ending = Path(os.fsdecode(path)).suffix.lower()
    if ending == ".onnx":
        from libmpc.graph.onnx import read_onnx

        return read_onnx(path)
    if ending in (".pt", ".pth", ".pkl", ".bin", ".ckpt"):
        raise ModelError(
            f"{Path(os.fsdecode(path)).name}: PyTorch files are Python code and are not opened; "
            "load the module in Python and give it to load_model, or export it to ONNX"
        )
    from libmpc.graph.keras import read_keras

    return read_keras(path)


def read_module(module: object, example_input: object) -> Graph:
    """A PyTorch module's network.

    Raises:
        ModelError: it is no module, or its importer refuses it.
        InputError: there is no example input.
    """
    from libmpc.graph.torch import is_module, read_torch

    if not is_module(module):
        raise ModelError(
            f"cannot load a model from {type(module).__name__}; give the path of a .h5, .keras or "
            ".onnx file, or a PyTorch module"
        )
    if example_input is None:
        raise InputError("a PyTorch module needs an example: load_model(module, example_input)")
    return read_torch(module, example_input)


def around(example: object) -> tuple[float, float]:
    """The range of an example input, rounded outwards to whole numbers.

    Raises:
        InputError: all of its values are one whole number, so that it says nothing.
    """
    if hasattr(example, "detach"):
        example = example.detach().cpu()  # a tensor
    values = np.asarray(example, np.float64)
    low, high = math.floor(values.min()), math.ceil(values.max())
    if low == high:
        raise InputError(
            f"the example input is {low} everywhere; give the range of real inputs as "
            "input_range=(low, high)"
        )
    return float(low), float(high)
