from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libmpc.errors import InputError, ModelError, RangeError
from libmpc.graph.model import build_model, load_model
from tests.graph.keras_files import DATA, dense, sequential, write_h5
from tests.graph.naive import Sketch


def test_load_model(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "my-net.h5", sequential(dense("d", 2)))
    model = load_model(str(path), (0, 1))
    assert (model.name, model.input_shape, model.output_shape) == ("my-net", (4,), (2,))
    # kernel [[0, 1], [2, 3], [4, 5], [6, 7]] / 8, bias [0, 1]
    assert model.reference(np.array([[1, 0.5, 0, 0.25]])).tolist() == [[0.3125, 1.53125]]
    assert load_model(path, (0, 1), name="other").name == "other"
    with pytest.raises(ModelError, match="name"):
        load_model(path, (0, 1), name="")


def test_repr_has_no_weights() -> None:
    sketch = Sketch((3,)).dense(2)
    model = build_model(sketch.graph, (0, 1), name="net")
    assert repr(model) == (
        "Model('net', input_shape=(3,), output_shape=(2,), input_range=(0.0, 1.0), steps=3, "
        "range='proven', final_activation=None)"
    )
    assert "Plan(" not in repr(model)


def test_reference_checks_its_input() -> None:
    model = load_model(DATA / "sequential.keras", (0, 1))
    with pytest.raises(InputError, match="divide by 255"):
        model.reference(np.full((1, 8, 8, 1), 255))
    assert model.reference(np.zeros((2, 8, 8, 1), np.uint8)).dtype == np.float64


@pytest.mark.parametrize(
    "bad", [(1, 0), (0, float("nan")), (0, float("inf")), (0, 2.0**31), (0,), 5, ("a", "b")]
)
def test_input_ranges_that_make_no_sense(bad: object) -> None:
    with pytest.raises(InputError, match="range"):
        load_model(DATA / "sequential.keras", bad)  # type: ignore[arg-type]


def test_the_range_decides_acceptance_and_never_the_arithmetic() -> None:
    x = np.random.default_rng(1).random((4, 8, 8, 1))
    one, two = (load_model(DATA / "sequential.keras", r) for r in ((0, 1), (-20, 20)))
    assert np.array_equal(one.reference(x), two.reference(x))
    with pytest.raises(RangeError, match="conv2d"):
        load_model(DATA / "sequential.keras", (-1e6, 1e6))
