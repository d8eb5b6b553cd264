"""ONNX's own conformance tests, on shares: a sample always, all of them among the slow tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("onnx")

from tests.onnx.conformance import LISTED, Case, Suite, cases
from tests.onnx.exclusions import EXCLUDED

# By module of ONNX's node tests: one or two tests each.
SAMPLE = {
    "argmax": ("argmax_no_keepdims_example",),
    "averagepool": ("averagepool_2d_precomputed_same_upper", "averagepool_2d_ceil"),
    "batch_normalization": ("batchnorm_epsilon",),
    "clip": ("clip",),
    "concat": ("concat_3d_axis_negative_2",),
    "conv": ("conv_with_strides_and_asymmetric_padding", "conv_with_autopad_same"),
    "convtranspose": ("convtranspose_group_2", "convtranspose_output_shape"),
    "gemm": ("gemm_all_attributes",),
    "hardswish": ("hardswish",),
    "matmul": ("matmul_3d",),
    "maxpool": ("maxpool_2d_precomputed_pads", "maxpool_2d_ceil"),
    "mul": ("mul_bcast", "mul_uint8"),
    "pad": ("constant_pad_axes", "reflect_pad"),
    "prelu": ("prelu_broadcast",),
    "reducemean": ("reduce_mean_negative_axes_keepdims_random",),
    "reshape": ("reshape_zero_and_negative_dim",),
    "sign": ("sign",),
    "slice": ("slice_neg_steps",),
    "softmax": ("softmax_axis_1",),
    "split": ("split_1d_uneven_split_opset18",),
}


def test_a_sample_passes() -> None:
    suite = Suite(list(SAMPLE))
    names = [f"test_{name}" for names in SAMPLE.values() for name in names]
    assert suite.run(names) == {}


def test_a_wrong_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from libmpc.onnx_backend import Backend, engine

    def off(*arguments: object) -> object:
        return engine.on_shares(*arguments) + 0.01  # type: ignore[arg-type]

    monkeypatch.setattr(Backend, "engine", staticmethod(off))
    failed = Suite(["sign"]).run(["test_sign"])
    assert "AssertionError" in failed["test_sign"]


@pytest.fixture(scope="module")
def every() -> list[Case]:
    return cases()


@pytest.fixture(scope="module")
def suite(every: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNX_MODELS", str(Path(tmp_path_factory.mktemp("light"))))
        yield Suite()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_at_most_15_percent_are_left_out(every: list[Case]) -> None:
    excluded = [case for case in every if case.excluded]
    assert {case.name for case in excluded} == set(EXCLUDED)
    assert len(excluded) <= 0.15 * len(every)
    assert "implemented" not in " ".join(EXCLUDED.values())
    assert {name for case in every for name in case.operators} == set(LISTED)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("operator", LISTED)
def test_every_test_of_an_operator_passes(operator: str, every: list[Case], suite: Suite) -> None:
    # A test of several operators is run once, with the last of them by name.
    names = [c.name for c in every if max(c.operators) == operator and not c.excluded]
    assert suite.run(names) == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_is_left_out_is_refused_and_never_answered(suite: Suite) -> None:
    assert [name for name in EXCLUDED if not suite.refused(name)] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_documentation_has_the_table() -> None:
    path = Path(__file__).resolve().parents[2] / "docs" / "operators.py"
    spec = importlib.util.spec_from_file_location("operators", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(["--check"]) == 0
