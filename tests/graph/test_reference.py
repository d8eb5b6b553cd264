"""The reference against Python's own integers, and by hand."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.errors import InputError
from libmpc.graph import reference, reference_tail
from libmpc.graph.plan import ConvStep, DenseStep, InputStep, OutputStep, Plan, ReluStep, Window
from libmpc.graph.reference import matmul, positive, rectify, relu, run_reference, truncate
from tests import naive
from tests.runtime.plans import random_inputs, random_plan, random_weights

MODULUS = 2**48


def two_layers(inputs: int, hidden: int, outputs: int) -> Plan:
    return Plan(
        steps=(
            InputStep(shape=(inputs,)),
            DenseStep(source=0, inputs=inputs, outputs=hidden),
            ReluStep(source=1, shape=(hidden,)),
            DenseStep(source=2, inputs=hidden, outputs=outputs),
            OutputStep(source=3, shape=(outputs,)),
        )
    )


def ring(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    return np.array([v % MODULUS for v in values], np.uint64)


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (0, 0),
        (1, 0),
        (65535, 0),
        (65536, 1),
        (131071, 1),
        (-1, 0),
        (-65536, 0),
        (-(2**47) + 2**16, 0),
        (2**47 - 1, 2**31 - 1),
        (2**47, 2**31),  # the upper end of the range is still exact
    ],
)
def test_relu(z: int, expected: int) -> None:
    assert relu(ring(z)) == expected
    assert relu(ring(z) + np.uint64(5 << 48)) == expected  # what is above bit 47 does not count


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (0, 0),
        (65535, 0),
        (65536, 1),
        (-1, -1),
        (-65536, -1),
        (-65537, -2),
        (2**46, 2**30),
        (-(2**46), -(2**30)),
        (2**46 - 1, 2**30 - 1),
    ],
)
def test_truncate(z: int, expected: int) -> None:
    assert truncate(ring(z)).view(np.int64) == expected
    assert truncate(ring(z) + np.uint64(5 << 48)).view(np.int64) == expected


@pytest.mark.parametrize("x", [0, 1, -1, 2**31, -(2**31) + 1, 12345, -54321])
def test_comparisons(x: int) -> None:
    for values in (ring(x), ring(x) + np.uint64(7 << 48)):
        assert rectify(values) == max(x, 0)
        assert positive(values) == (65536 if x > 0 else 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_matrix_product(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k, m = (int(d) for d in rng.integers(1, 5, 3))
    x, w = rng.integers(0, 2**64, (n, k), np.uint64), rng.integers(0, 2**64, (k, m), np.uint64)
    expected = naive.ring(naive.matmul(naive.ints(x), naive.ints(w)), 48)
    assert np.array_equal(matmul(x, w) % MODULUS, expected)


def test_matrix_product_of_the_largest_numbers_at_the_largest_depth() -> None:
    x = np.full((1, 2**20), MODULUS - 1, np.uint64)
    for depth in (2**20, 2**20 - 1):
        assert matmul(x[:, :depth], x[:, :depth].T) % MODULUS == depth
    deeper = np.full((1, 2**20 + 1), MODULUS - 1, np.uint64)
    assert matmul(deeper, deeper.T) % MODULUS == 2**20 + 1


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_random_plans_by_python_integers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = random_plan(rng)
    weights = random_weights(rng, plan)
    x = random_inputs(rng, plan, 2)
    got = run_reference(plan, weights, x.view(np.uint64))
    assert np.array_equal(got, naive.ring(naive.run(plan, weights, x), 48))


def test_known_answer() -> None:
    plan = two_layers(2, 2, 1)
    weights = {
        1: (ring(65536, -65536, 32768, 3).reshape(2, 2), ring(0, 1 << 32)),
        3: (ring(2 * 65536, -1).reshape(2, 1), ring(-7)),
    }
    x = ring(3 * 65536, -65537).reshape(1, 2)
    # z = 3·2^32 - 65537·2^15, and -3·2^32 + 2^32 - 3·65537, which ReLU stops
    first = (3 * 2**32 - 65537 * 2**15) >> 16
    assert first == 2.5 * 65536 - 1  # rounded down
    assert run_reference(plan, weights, x).tolist() == [[2 * 65536 * first - 7]]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_equals_python_integers_even_where_it_wraps(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
        return rng.integers(0, MODULUS, shape, np.uint64)

    weights = {1: (draw(3, 4), draw(4)), 3: (draw(4, 2), draw(2))}
    x = draw(2, 3)
    got = run_reference(two_layers(3, 4, 2), weights, x)
    for sample, row in enumerate(x.tolist()):
        w, b = (a.tolist() for a in weights[1])
        z = [(sum(row[i] * w[i][j] for i in range(3)) + b[j]) % MODULUS for j in range(4)]
        y = [max((v if v <= 2**47 else v - MODULUS) >> 16, 0) for v in z]
        w, b = (a.tolist() for a in weights[3])
        out = [(sum(y[i] * w[i][j] for i in range(4)) + b[j]) % MODULUS for j in range(2)]
        assert got[sample].tolist() == out


def test_convolution_by_python_integers() -> None:
    window = Window(
        height=4,
        width=5,
        channels=2,
        kernel=(2, 3),
        strides=(2, 1),
        dilation=(2, 1),
        padding=(1, 0, 0, 2),
    )
    shape = (*window.output_size, 3)
    plan = Plan(
        steps=(
            InputStep(shape=(4, 5, 2)),
            ConvStep(source=0, window=window, filters=3),
            OutputStep(source=1, shape=shape),
        )
    )
    rng = np.random.default_rng(2)
    w, b, x = (rng.integers(0, MODULUS, s, np.uint64) for s in ((12, 3), (3,), (2, 4, 5, 2)))
    got = run_reference(plan, {1: (w, b)}, x)
    for n, r, c, f in np.ndindex(2, *shape):
        total = int(b[f])
        for ky, kx, ch in np.ndindex(2, 3, 2):
            y, z = r * 2 + ky * 2 - 1, c + kx
            if 0 <= y < 4 and 0 <= z < 5:
                total += int(x[n, y, z, ch]) * int(w[(ky * 3 + kx) * 2 + ch, f])
        assert int(got[n, r, c, f]) == total % MODULUS


def test_batches_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    plan = random_plan(rng, steps=12)
    weights = random_weights(rng, plan)
    x = random_inputs(rng, plan, 7).view(np.uint64)
    whole = run_reference(plan, weights, x)
    largest = max(step.size for step in plan.steps)
    monkeypatch.setattr(reference, "_CHUNK", 2 * largest)  # two samples at a time
    assert np.array_equal(run_reference(plan, weights, x), whole)
    assert np.array_equal(run_reference(plan, weights, x[3:4])[0], whole[3])


def test_wrong_shape() -> None:
    plan = two_layers(2, 2, 1)
    for shape in ((2,), (1, 3), (1, 2, 1)):
        with pytest.raises(InputError, match="batch"):
            run_reference(plan, {}, np.zeros(shape, np.uint64))


def test_imports_no_kernel_and_no_protocol() -> None:
    for module in (reference, reference_tail):
        tree = ast.parse(Path(module.__file__).read_text())
        modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        ours = {m for m in modules if m.startswith("libmpc")}
        assert ours - {"libmpc.graph.reference_tail"} <= {
            "libmpc.errors",
            "libmpc.graph",
            "libmpc.graph.plan",
            "libmpc.graph.plan.groups",
        }
