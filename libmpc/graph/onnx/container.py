"""The outer shell of an ONNX model: its file, what may be in it, and its version."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from onnx import ModelProto

from libmpc.errors import ModelError

MAX_FILE_BYTES = (2 << 30) - 1  # protobuf's own limit
MIN_OPSET, MAX_OPSET = 13, 28
MAX_NODES = 1 << 14
STANDARD_DOMAINS = ("", "ai.onnx")


def read_file(path: str | os.PathLike[str]) -> tuple[ModelProto, Path]:
    """A model, and the folder in which its other files may be.

    Raises:
        ModelError: missing, not a regular file, unreadable, empty, too large, or no ONNX model.
    """
    name = ascii(os.fsdecode(path))
    file = Path(os.fsdecode(path))
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{name} is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ModelError(f"{name} has more than {MAX_FILE_BYTES} bytes")
        data = file.read_bytes()
        folder = file.resolve().parent
    except FileNotFoundError:
        raise ModelError(f"there is no file {name}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise ModelError(f"cannot read {name}: {reason}") from None
    return parse(data, name), folder


def parse(data: bytes, name: str) -> ModelProto:
    """The model in a file's bytes.

    Raises:
        ModelError: they are not an ONNX model.
    """
    if not data:
        raise ModelError(f"{name} is empty")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:  # noqa: BLE001 - protobuf's error type differs by implementation
        raise ModelError(
            f"{name} is not an ONNX model, or damaged or cut short ({type(error).__name__}); "
            "copy or export it again"
        ) from None
    if not model.HasField("graph") or not model.opset_import:
        raise ModelError(f"{name} is not an ONNX model: it has no graph, or no operator set")
    return model


def check_model(model: ModelProto) -> None:
    """What the whole model must fulfil before anything of it is looked at.

    Raises:
        ModelError: its operator set is too old or too new, or it has too many nodes.
    """
    versions = {entry.domain: entry.version for entry in model.opset_import}
    version = versions.get("", versions.get("ai.onnx"))
    if version is None:
        raise ModelError("the model does not say which version of ONNX's operators it uses")
    if version < MIN_OPSET:
        raise ModelError(
            f"the model uses opset {version}; supported are {MIN_OPSET} to {MAX_OPSET}: export it "
            f"again with opset_version={MIN_OPSET} or more, or convert the file with "
            f"onnx.version_converter.convert_version(model, {MIN_OPSET})"
        )
    if version > MAX_OPSET:
        raise ModelError(
            f"the model uses opset {version}, this version of libmpc knows those up to "
            f"{MAX_OPSET}: export it again with opset_version={MAX_OPSET}"
        )
    count = len(model.graph.node) + sum(len(f.node) for f in model.functions)
    if count > MAX_NODES:
        raise ModelError(f"the model has {count} nodes, more than {MAX_NODES}")
    if model.graph.sparse_initializer:
        raise ModelError("sparse weights are not supported: export the model with dense ones")
