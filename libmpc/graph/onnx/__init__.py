"""ONNX models: parsed with the library ``onnx``, walked along their edges, never executed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from libmpc.errors import ModelError
from libmpc.graph.nodes import Graph

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["read_onnx", "read_onnx_bytes", "read_onnx_proto"]


def read_onnx(path: str | os.PathLike[str]) -> Graph:
    """Read a model from an ONNX file (opset 13 or newer).

    The first axis of its input is the batch: a sample has the other axes, and the graph answers
    one sample, as the model does for a batch of one. The file is a stranger's: nothing in it is
    executed, every size is checked before memory is taken for it, and of other files only those
    with weights in the model's own folder are read.

    Raises:
        ModelError: the file is missing, damaged or no ONNX model, or has something that is not
            supported; names the layer. Or the package ``onnx`` is not installed.
    """
    _require_onnx()
    from libmpc.graph.onnx.container import read_file
    from libmpc.graph.onnx.importer import import_graph

    model, folder = read_file(path)
    return import_graph(model, folder)


def read_onnx_bytes(data: bytes) -> Graph:
    """Read a model from the bytes of an ONNX file that has its weights in it; see ``read_onnx``.

    Raises:
        ModelError: as ``read_onnx``.
    """
    _require_onnx()
    from libmpc.graph.onnx.container import parse
    from libmpc.graph.onnx.importer import import_graph

    return import_graph(parse(data, "the model"), None)


def read_onnx_proto(model: ModelProto) -> Graph:
    """Read a model that is in memory already, with its weights; see ``read_onnx``.

    Raises:
        ModelError: as ``read_onnx``.
    """
    from libmpc.graph.onnx.importer import import_graph

    return import_graph(model, None)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ModelError(
            "reading ONNX models needs the package onnx: pip install 'libmpc[onnx]'"
        ) from None
