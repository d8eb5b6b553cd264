"""From a module to an ONNX model in memory, with PyTorch's own exporters."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from libmpc.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

_SCOPES = "pkg.torch.onnx.name_scopes"


def export(module: Any, example: Any) -> ModelProto:
    """The module as an ONNX model, at the example's shape.

    With onnxscript installed PyTorch's newer exporter is used ("dynamo"), and the older one
    (TorchScript) where that cannot; without it, the older one.

    Args:
        module: a ``torch.nn.Module`` in evaluation mode.
        example: a tensor, (1, *input shape).

    Raises:
        ModelError: the module does not run on the example, or no exporter can export it.
    """
    problem: Exception | None = None
    with _quiet():
        if find_spec("onnxscript") is not None:
            try:
                return _dynamo(module, example)
            except Exception as error:  # noqa: BLE001 - exporters raise whatever they come across
                problem = error
        try:
            return _torchscript(module, example)
        except Exception as error:  # noqa: BLE001 - see above
            raise ModelError(_explain(problem or error)) from (problem or error)


def _dynamo(module: Any, example: Any) -> ModelProto:
    program = import_module("torch.onnx").export(module, (example,), dynamo=True, verbose=False)
    model: ModelProto = program.model_proto
    for node in model.graph.node:
        node.name = _layer(node) or node.name
    return model


def _torchscript(module: Any, example: Any) -> ModelProto:
    file = io.BytesIO()
    import_module("torch.onnx").export(module, (example,), file, dynamo=False, verbose=False)
    model: ModelProto = import_module("onnx").load_model_from_string(file.getvalue())
    return model


def _layer(node: Any) -> str:
    """The submodule that a node comes from, as the user knows it: ``layer1.0.conv1``."""
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            # A list in Python's spelling: the way from the module down to the operation itself.
            scopes = [scope.strip(" '\"") for scope in entry.value.strip("[]").split(",")]
            return next((scope for scope in reversed(scopes[:-1]) if scope), "")
    return ""


def _explain(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0][:300] if lines else type(error).__name__
    return (
        f"PyTorch cannot export the module to ONNX: {first}. Try torch.onnx.export(module, "
        "example_input, 'model.onnx') by itself; a module must not decide by values, such as in "
        "'if x.sum() > 0', and needs operations that ONNX has"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' notes on their own future, and on packages that nobody needs here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
