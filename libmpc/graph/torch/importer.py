"""From a module to a graph, compared with the module itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import InputError, ModelError
from libmpc.graph import nodes
from libmpc.graph.floating import apply_final, run_float
from libmpc.graph.nodes import Graph
from libmpc.graph.onnx import read_onnx_proto
from libmpc.graph.torch.export import export

_TOLERANCE = 1e-2  # of the largest output: far above float32's rounding, far below another branch


def is_module(thing: object) -> bool:
    """Whether something is a ``torch.nn.Module``; imports nothing to find out."""
    torch: Any = sys.modules.get("torch")
    return torch is not None and isinstance(thing, torch.nn.Module)


def read_torch(module: object, example_input: object) -> Graph:
    """Read a PyTorch module as the network that it is in evaluation mode.

    The module is not changed. What was read is run in float64 and compared with the module, on
    the example and on two inputs that differ from it in size and sign, so that a module that
    decides by values is noticed.

    Args:
        module: a ``torch.nn.Module`` with one input and one output.
        example_input: an array or tensor (batch, *input shape), as the module takes it; images
            are (batch, channels, height, width). Its first sample is used.

    Raises:
        ModelError: PyTorch cannot export it, it has something that is not supported, or it does
            not compute what was exported.
        InputError: the example is no array with a first axis that counts samples.
    """
    if not is_module(module):
        raise ModelError(f"a torch.nn.Module is needed, not {type(module).__name__}")
    if find_spec("onnx") is None:
        raise ModelError("reading PyTorch modules needs onnx: pip install 'libmpc[torch]'")
    with _evaluation(module), import_module("torch").no_grad():
        example = _example(module, example_input)
        noise = np.random.default_rng(0).uniform(-1, 1, example.shape)
        other = example.new_tensor(noise) * example.abs().max().clamp(min=1) - example / 2
        inputs = (example, other, -other)
        expected = [_run(module, x) for x in inputs]
        graph = read_onnx_proto(export(module, example))
        for x, y in zip(inputs, expected, strict=True):
            _compare(graph, x, y)
    return graph


@contextmanager
def _evaluation(module: Any) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    for part, _ in modes:
        part.training = False
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _example(module: Any, example_input: object) -> Any:
    """The example's first sample, in the type and on the device of the module's weights."""
    torch: Any = import_module("torch")
    try:
        example = torch.as_tensor(example_input).detach()
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            "example_input must be one array or tensor, such as torch.zeros(1, 3, 224, 224); a "
            "module with several inputs is not supported"
        ) from None
    if example.ndim < 2 or not example.numel():
        raise InputError(
            f"example_input has shape {tuple(example.shape)}; the first axis counts samples: "
            "(1, 3, 224, 224) for one picture"
        )
    weight = next((p for p in module.parameters() if p.is_floating_point()), None)
    if weight is None:
        return example[:1].to(torch.float32)
    return example[:1].to(device=weight.device, dtype=weight.dtype)


def _run(module: Any, x: Any) -> NDArray[np.float64]:
    try:
        y = module(x)
    except Exception as error:  # a user's module raises what it likes
        raise ModelError(
            f"the module does not run on example_input of shape {tuple(x.shape)}: "
            f"{str(error).splitlines()[0][:300] if str(error) else type(error).__name__}"
        ) from error
    if not isinstance(y, import_module("torch").Tensor):
        raise ModelError(
            f"the module returns {type(y).__name__}; wrap it in a module that returns one tensor"
        )
    return np.asarray(y.detach().cpu().double().numpy())


def _compare(graph: Graph, x: Any, expected: NDArray[np.float64]) -> None:
    got = run_float(graph, x.cpu().double().numpy())
    last = graph.nodes[-1]
    if isinstance(last, nodes.Final):
        got = np.asarray(apply_final(last.kind, got, last.axis), np.float64)
    if not np.isfinite(expected).all():
        raise ModelError("the module's output is NaN or infinite; has its training diverged?")
    worst = float(np.abs(got.ravel() - expected.ravel()).max()) if got.size else 0.0
    if got.size != expected.size or worst > _TOLERANCE * max(1e-6, float(np.abs(expected).max())):
        raise ModelError(
            f"the module does not compute what PyTorch exported (the outputs differ by {worst:.3g})"
            ": it decides by values, or draws random numbers, and cannot be run on shares"
        )
