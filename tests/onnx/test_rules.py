"""Random settings of single operators, in float, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from onnx import ModelProto

from libmpc.graph.floating import run_float
from libmpc.graph.onnx import read_onnx_proto
from tests.onnx.make import X, model, node

onnxruntime = pytest.importorskip("onnxruntime")
onnxruntime.set_default_logger_severity(4)
_FEW = settings(max_examples=40, deadline=None)


def agree(made: ModelProto, shape: tuple[int, ...]) -> None:
    """The graph's answer to a sample is onnxruntime's to a batch of one; or both refuse."""
    x = np.random.default_rng(1).normal(size=(1, *shape)).round(3)
    try:
        session = onnxruntime.InferenceSession(made.SerializeToString())
        (wanted,) = session.run(None, {X: x.astype(np.float32)})
    except Exception:  # noqa: BLE001 - it has many
        assume(False)
    assume(wanted.size)
    found = run_float(read_onnx_proto(made), x)
    assert found.shape[1:] == (wanted.shape[1:] if wanted.shape[0] == 1 else wanted.shape)
    np.testing.assert_allclose(found.ravel(), wanted.ravel(), atol=2e-5, rtol=1e-5)


def window(draw: Any, rank: int, *, sizes: bool = True) -> dict[str, Any]:
    """Attributes of a sliding window."""
    few = st.integers(1, 3)
    found: dict[str, Any] = {
        "strides": [draw(few) for _ in range(rank)],
        "dilations": [draw(st.integers(1, 2)) for _ in range(rank)],
    }
    if sizes:
        found["kernel_shape"] = [draw(few) for _ in range(rank)]
    mode = draw(st.sampled_from(["NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        found["pads"] = [draw(st.integers(0, 1)) for _ in range(2 * rank)]
    else:
        found["auto_pad"] = mode
    return found


@st.composite
def convolutions(draw: Any) -> tuple[ModelProto, tuple[int, ...]]:
    rank, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    inner, outer = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    sizes = tuple(draw(st.integers(3, 7)) for _ in range(rank))
    rng = np.random.default_rng(2)
    w = rng.normal(size=(groups * outer, inner, *kernel)).astype(np.float32)
    b = rng.normal(size=groups * outer).astype(np.float32)
    attributes = window(draw, rank, sizes=False)
    made = model([node("Conv", "x w b", group=groups, **attributes)], ["n", groups * inner, *sizes])
    return _with(made, w=w, b=b), (groups * inner, *sizes)


def _with(made: ModelProto, **constants: Any) -> ModelProto:
    other = model(list(made.graph.node), [], constants, opset=made.opset_import[0].version)
    made.graph.initializer.extend(other.graph.initializer)
    return made


@_FEW
@given(convolutions())
def test_convolutions(case: tuple[ModelProto, tuple[int, ...]]) -> None:
    agree(*case)


@st.composite
def transposed(draw: Any) -> tuple[ModelProto, tuple[int, ...]]:
    rank, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 2]))
    inner, outer = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    sizes = tuple(draw(st.integers(2, 5)) for _ in range(rank))
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    w = np.random.default_rng(2).normal(size=(groups * inner, outer, *kernel)).astype(np.float32)
    attributes: dict[str, Any] = {"strides": strides, "group": groups}
    if draw(st.booleans()):
        attributes["pads"] = [draw(st.integers(0, 1)) for _ in range(2 * rank)]
        attributes["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    elif groups == 1:
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in range(rank)]
    made = model([node("ConvTranspose", "x w", **attributes)], ["n", groups * inner, *sizes])
    return _with(made, w=w), (groups * inner, *sizes)


@_FEW
@given(transposed())
def test_transposed_convolutions(case: tuple[ModelProto, tuple[int, ...]]) -> None:
    agree(*case)


@st.composite
def pools(draw: Any) -> tuple[ModelProto, tuple[int, ...]]:
    rank = draw(st.integers(1, 3))
    sizes = tuple(draw(st.integers(5, 7)) for _ in range(rank))
    attributes = window(draw, rank)
    if "pads" in attributes:  # onnxruntime rounds up with auto_pad too, which ONNX does not
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    if "SAME" in attributes.get("auto_pad", ""):
        # onnxruntime forgets dilations here, and pads by less than nothing for wide strides.
        attributes["strides"] = attributes["dilations"] = [1] * rank
    kind = draw(st.sampled_from(["AveragePool", "MaxPool"]))
    if kind == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    return model([node(kind, "x", **attributes)], ["n", 2, *sizes], opset=22), (2, *sizes)


@_FEW
@given(pools())
def test_pools(case: tuple[ModelProto, tuple[int, ...]]) -> None:
    agree(*case)


@_FEW
@given(st.data())
def test_slices(data: Any) -> None:
    axes = data.draw(st.permutations([1, 2, 3]))[: data.draw(st.integers(1, 3))]
    steps = [data.draw(st.integers(-3, 3).filter(bool)) for _ in axes]
    ends = [(data.draw(st.integers(-8, 1)), data.draw(st.integers(2, 8))) for _ in axes]
    lists = {
        "starts": [e[0] if step > 0 else e[1] for e, step in zip(ends, steps, strict=True)],
        "ends": [e[1] if step > 0 else e[0] for e, step in zip(ends, steps, strict=True)],
        "axes": [axis - data.draw(st.sampled_from([0, 4])) for axis in axes],
        "steps": steps,
    }
    constants = {name: np.asarray(values, np.int64) for name, values in lists.items()}
    agree(model([node("Slice", "x starts ends axes steps")], ["n", 5, 4, 6], constants), (5, 4, 6))


@_FEW
@given(st.data())
def test_pads(data: Any) -> None:
    mode = data.draw(st.sampled_from(["constant", "edge", "reflect"]))
    least = -1 if mode == "constant" else 0
    pads = [0, *(data.draw(st.integers(least, 2)) for _ in range(3))]
    pads += [0, *(data.draw(st.integers(least, 2)) for _ in range(3))]
    constants = {"pads": np.asarray(pads, np.int64), "value": np.float32(0.25)}
    read = "x pads value" if mode == "constant" else "x pads"
    agree(model([node("Pad", read, mode=mode)], ["n", 3, 4, 5], constants), (3, 4, 5))


@_FEW
@given(st.data())
def test_products_of_matrices(data: Any) -> None:
    few = st.integers(1, 3)
    x = (data.draw(few), data.draw(few), 4)
    lead = data.draw(st.sampled_from([(), (1,), (x[0],), (1, 1), (2, x[0])]))
    rng = np.random.default_rng(3)
    if data.draw(st.booleans()):
        w = rng.normal(size=(*lead, 4, data.draw(few))).astype(np.float32)
        read = "x w"
    else:
        w = rng.normal(size=(*lead, data.draw(few), x[1])).astype(np.float32)
        read = "w x"
    agree(model([node("MatMul", read)], ["n", *x], {"w": w}), x)


@_FEW
@given(st.data())
def test_gathered_places(data: Any) -> None:
    places = data.draw(
        st.one_of(
            st.integers(-5, 4),
            st.lists(st.integers(-5, 4), min_size=1, max_size=9),
            st.sampled_from([[[0, 1], [3, 2]], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [*range(5)] * 2]),
        )
    )
    constants = {"places": np.asarray(places, np.int64)}
    made = model([node("Gather", "x places", axis=2)], ["n", 2, 5, 3], constants)
    agree(made, (2, 5, 3))
