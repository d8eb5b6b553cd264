"""Strangers' files: whatever is in them, there is a model or a ModelError, in little memory."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from libmpc.errors import ModelError
from libmpc.graph.onnx import read_onnx, read_onnx_bytes, read_onnx_proto
from tests.onnx.make import model, node

DATA = Path(__file__).parent / "data"
SEEDS = [path.read_bytes() for path in sorted(DATA.glob("torch_*.onnx"))]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_changed_bytes_never_crash_it(data: Any) -> None:
    seed = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(seed) - 1))
        seed[place] = data.draw(st.integers(0, 255))
    try:
        read_onnx_bytes(bytes(seed))
    except ModelError as error:
        assert str(error).isprintable()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SEEDS), st.floats(0, 1), st.binary(max_size=40))
def test_cut_and_patched_files(seed: bytes, part: float, more: bytes) -> None:
    place = int(part * len(seed))
    for data in (seed[:place], seed[:place] + more + seed[place + len(more) :], more):
        try:
            read_onnx_bytes(data)
        except ModelError:
            continue


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_changed_fields_never_crash_it(data: Any) -> None:
    made = onnx.ModelProto.FromString(data.draw(st.sampled_from(SEEDS)))
    some = data.draw(st.sampled_from(list(made.graph.node)))
    number = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-3, 9))
    what = data.draw(st.integers(0, 4))
    if what == 0 and some.attribute:
        attribute = data.draw(st.sampled_from(list(some.attribute)))
        attribute.i = data.draw(number)
        attribute.ints[:] = data.draw(st.lists(number, max_size=5))
        attribute.f = data.draw(st.floats(width=32))
        attribute.type = data.draw(st.integers(0, 14))  # type: ignore[assignment]
    elif what == 1:
        some.input[:] = data.draw(st.permutations(list(some.input)))
    elif what == 2:
        some.op_type = data.draw(st.sampled_from([n.op_type for n in made.graph.node]))
    elif what == 3 and made.graph.initializer:
        tensor = data.draw(st.sampled_from(list(made.graph.initializer)))
        tensor.dims[:] = data.draw(st.lists(number, max_size=4))
        tensor.data_type = data.draw(st.integers(-1, 30))
    else:
        other = data.draw(st.sampled_from(list(made.graph.node)))
        some.input[: len(some.input)] = [*other.output, *some.input][: len(some.input)]
    try:
        read_onnx_proto(made)
    except ModelError:
        return


@pytest.mark.parametrize(
    ("steps", "constants"),
    [
        ([node("ConstantOfShape", "s", "c")], {"s": [1 << 40]}),
        ([node("ConstantOfShape", "s", "c")], {"s": [1 << 20, 1 << 20]}),
        ([node("Expand", "one s", "c")], {"s": [1 << 40], "one": np.ones(1, np.float32)}),
        ([node("Tile", "one s", "c")], {"s": [1 << 40], "one": np.ones(1, np.float32)}),
        (
            [node("Range", "zero end one", "c")],
            {"zero": np.int64(0), "end": np.int64(1 << 60), "one": np.int64(1)},
        ),
        (
            [node("Add", "a b", "c")],
            {"a": np.ones((1 << 20, 1), np.float32), "b": np.ones((1, 1 << 20), np.float32)},
        ),
        (
            [node("Gather", "a b", "c")],
            {"a": np.ones((1, 1 << 20), np.float32), "b": np.zeros(1 << 20, np.int64)},
        ),
        (
            [node("MatMul", "a b", "c")],
            {"a": np.ones((1 << 20, 1), np.float32), "b": np.ones((1, 1 << 20), np.float32)},
        ),
    ],
    ids=lambda value: value[0].op_type if isinstance(value, list) else "",
)
def test_constants_cannot_grow_without_bound(steps: list[Any], constants: dict[str, Any]) -> None:
    given = {name: np.asarray(value) for name, value in constants.items()}
    made = model([*steps, node("ReduceSum", "c", "t"), node("Add", "x t")], ["n", 2], given)
    with pytest.raises(ModelError, match="constant"):
        read_onnx_proto(made)


def test_constants_that_double_again_and_again() -> None:
    names = ["a", *(f"a{i}" for i in range(40))]
    steps = [node("Concat", f"{a} {a}", b, axis=0) for a, b in pairwise(names)]
    for number, step in enumerate(steps):
        step.name = f"double {number}"
    last = [node("ReduceSum", names[-1], "t"), node("Add", "x t")]
    with pytest.raises(ModelError, match="constants grow"):
        read_onnx_proto(model([*steps, *last], ["n", 2], {"a": np.ones(64, np.float32)}))


def test_functions_that_call_themselves() -> None:
    made = model([helper.make_node("F", ["x"], ["y"], domain="m")], ["n", 2])
    body = [helper.make_node("F", ["a"], ["b"], domain="m")]
    made.functions.append(helper.make_function("m", "F", ["a"], ["b"], body, []))
    with pytest.raises(ModelError, match="nested deeper"):
        read_onnx_proto(made)


def test_functions_that_call_others_twice() -> None:
    made = model([helper.make_node("F13", ["x"], ["y"], domain="m")], ["n", 2])
    for number in range(14):
        call = f"F{number - 1}" if number else "Relu"
        domain = "m" if number else ""
        body = [
            helper.make_node(call, ["a"], ["b"], domain=domain),
            helper.make_node(call, ["b"], ["c"], domain=domain),
        ]
        opset = [helper.make_opsetid("", 17)]
        made.functions.append(helper.make_function("m", f"F{number}", ["a"], ["c"], body, opset))
    with pytest.raises(ModelError, match="nodes|operations"):
        read_onnx_proto(made)


@pytest.mark.parametrize(
    "location",
    ["../secret", "/etc/passwd", "a/../../secret", "link", "folder/w", "", ".", "fifo", "C:\\x"],
)
def test_external_data_stays_in_the_folder(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    home = tmp_path / "home"
    home.mkdir()
    (home / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "w").write_bytes(bytes(64))
    (home / "folder").symlink_to(tmp_path / "outside")
    os.mkfifo(home / "fifo")
    (home / "m.onnx").write_bytes(_external(location).SerializeToString())
    with pytest.raises(ModelError, match="'w'"):
        read_onnx(home / "m.onnx")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"offset": "-4"}, "damaged"),
        ({"offset": "60"}, "cut short"),
        ({"offset": "nine"}, "damaged"),
        ({"length": "99999999999"}, "damaged"),
        ({"length": "4"}, "damaged"),
    ],
)
def test_external_data_fits(tmp_path: Path, extra: dict[str, str], says: str) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    (tmp_path / "m.onnx").write_bytes(_external("w.bin", **extra).SerializeToString())
    with pytest.raises(ModelError, match=says):
        read_onnx(tmp_path / "m.onnx")


def test_external_data_needs_a_path() -> None:
    with pytest.raises(ModelError, match="load the model by its path"):
        read_onnx_proto(_external("w.bin"))


def _external(location: str, **extra: str) -> onnx.ModelProto:
    made = model([node("Add", "x w")], ["n", 4])
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **extra}.items():
        tensor.external_data.add(key=key, value=value)
    made.graph.initializer.append(tensor)
    return made


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="w", data_type=1, dims=[1 << 60], raw_data=b"1234"),
        TensorProto(name="w", data_type=1, dims=[-1], raw_data=b"1234"),
        TensorProto(name="w", data_type=1, dims=[2], raw_data=b"1234"),
        TensorProto(name="w", data_type=1, dims=[2], float_data=[1.0]),
        TensorProto(name="w", data_type=8, dims=[1], string_data=[b"a"]),
        TensorProto(name="w", data_type=99, dims=[1], raw_data=b"1234"),
        TensorProto(name="w", data_type=1, dims=[1] * 40, raw_data=b"1234"),
    ],
)
def test_damaged_weights(tensor: TensorProto) -> None:
    made = model([node("Add", "x w")], ["n", 2])
    made.graph.initializer.append(tensor)
    with pytest.raises(ModelError, match="'w'"):
        read_onnx_proto(made)


def test_weights_that_are_not_numbers() -> None:
    made = model([node("Add", "x w")], ["n", 2])
    made.graph.initializer.append(numpy_helper.from_array(np.float32([np.nan, np.inf]), "w"))
    with pytest.raises(ModelError, match="NaN or infinite"):
        read_onnx_proto(made)


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", bytes(100), b"hello"]
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.onnx"):
        read_onnx(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    for path, says in ((tmp_path, "regular"), (tmp_path / "none", "no file"), ("a\0b", "usable")):
        with pytest.raises(ModelError, match=says):
            read_onnx(path)
