"""ONNX's own tests: which of them count, which are left out and why, and how near is near enough.

A test counts if all operators of its model are in ``LISTED``. Everything that counts must pass on
shares, or stand in ``EXCLUDED`` with its reason. Tests with other operators are not run.
"""

from __future__ import annotations

import importlib
import unittest
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test import BackendTest
from onnx.backend.test.case.node import _NodeTestCases
from onnx.backend.test.loader import load_model_tests

from libmpc.errors import LibmpcError
from libmpc.onnx_backend import Backend
from tests.onnx.exclusions import EXCLUDED

# Operators that correspond to layers that libmpc promises to load.
LISTED = (
    *("Abs", "Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat"),
    *("Constant", "ConstantOfShape", "Conv", "ConvTranspose", "DepthToSpace", "Div", "Dropout"),
    *("Expand", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool"),
    *("HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "LogSoftmax", "MatMul", "Max"),
    *("MaxPool", "Mean", "Min", "Mul", "Neg", "PRelu", "Pad", "Range", "ReduceMean", "ReduceSum"),
    *(
        "Relu",
        "Reshape",
        "Resize",
        "Shape",
        "Sigmoid",
        "Sign",
        "Size",
        "Slice",
        "Softmax",
        "SpaceToDepth",
    ),
    *("Split", "Squeeze", "Sub", "Sum", "ThresholdedRelu", "Tile", "Transpose", "Unsqueeze"),
)
# Fixed point has 16 fraction bits, so inputs and weights are off by up to 2^-17 each; sums of
# products of numbers of size 1 to 30 stay within this of float32.
ATOL, RTOL = 2.0**-10, 1e-3
# Whole networks round in each of 50 to 121 layers: within this part of the largest output.
NETWORK_RTOL = 0.02

_KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
_LIGHT = "onnx/backend/test/data/light/"


@dataclass(frozen=True)
class Case:
    """One of ONNX's tests."""

    name: str
    kind: str
    operators: frozenset[str]

    @property
    def excluded(self) -> str | None:
        """Why it is left out, if it is."""
        return EXCLUDED.get(self.name)


def cases() -> list[Case]:
    """All tests that count; ONNX makes most of them anew, which takes some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some make infinities on purpose
        loaded = [(kind, test) for kind in _KINDS for test in load_model_tests(kind=kind)]
    return [case for kind, test in loaded for case in _case(kind, test)]


def _case(kind: str, test: Any) -> Iterator[Case]:
    model = test.model if test.model is not None else onnx.load(_path(test))
    operators = frozenset(node.op_type for node in model.graph.node)
    if operators <= set(LISTED):
        yield Case(test.name, kind, operators)


def _path(test: Any) -> Path:
    if test.model_dir is not None:
        return Path(test.model_dir) / "model.onnx"
    assert test.url.startswith(_LIGHT)
    return Path(onnx.__file__).parent.parent / test.url


class Conformance(BackendTest):  # type: ignore[misc, unused-ignore]
    """ONNX's runner with the tolerance of fixed point; everything else is as strict as there."""

    @classmethod
    def assert_similar_outputs(
        cls,
        ref_outputs: Sequence[Any],
        outputs: Sequence[Any],
        rtol: float,
        atol: float,
        model_dir: str | None = None,
    ) -> None:
        assert len(outputs) == len(ref_outputs)
        network = model_dir is not None and "light" in model_dir
        for made, wanted in zip(outputs, ref_outputs, strict=True):
            assert made.shape == wanted.shape
            assert made.dtype == wanted.dtype
            near = wanted.astype(np.float64)
            reach = NETWORK_RTOL * np.abs(near).max(initial=0.0) if network else ATOL
            np.testing.assert_allclose(
                made.astype(np.float64), near, rtol=max(rtol, RTOL), atol=reach
            )


class _Sample(Conformance):
    """ONNX's runner with few tests in it."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.backend = Backend
        self._parent_module = __name__
        self._include_patterns = set()
        self._exclude_patterns = set()
        self._xfail_patterns = set()
        self._test_kwargs = {}
        self._test_items = defaultdict(dict)
        for module in modules:
            importlib.import_module(f"onnx.backend.test.case.node.{module}")
        # A module's tests may be there already, or more than its own: what is loaded is loaded.
        for test in list(_NodeTestCases):
            self._add_model_test(test, "Node")


class Suite:
    """ONNX's tests over libmpc's backend, by name."""

    def __init__(self, modules: Sequence[str] | None = None) -> None:
        """All tests, or only the node tests of some of ONNX's modules: much quicker to make."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runner = Conformance(Backend, __name__) if modules is None else _Sample(modules)
            self._classes = list(runner.test_cases.values())

    def run(self, names: Iterable[str]) -> dict[str, str]:
        """Run tests; the traces of those that did not pass, by name."""
        failed = {}
        for name in names:
            (case,) = (c for c in self._classes if hasattr(c, f"{name}_cpu"))
            result = unittest.TestResult()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of ONNX's own reference operators
                case(f"{name}_cpu").run(result)
            bad = [*result.failures, *result.errors, *result.skipped]
            if bad or result.testsRun != 1:
                failed[name] = bad[0][1] if bad else "not run"
        return failed

    def refused(self, name: str) -> bool:
        """Whether a test ends with one of libmpc's own errors, that is, without any answer."""
        trace = self.run([name]).get(name, "")
        kinds = {kind.__name__ for kind in _subclasses(LibmpcError)}
        return any(f"libmpc.errors.{kind}: " in trace for kind in kinds)


def _subclasses(kind: type) -> Iterator[type]:
    yield kind
    for sub in kind.__subclasses__():
        yield from _subclasses(sub)
