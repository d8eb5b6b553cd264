"""Functions of a part of a value are what they would be as functions of the whole."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.graph.ranges.patch import Patch


@st.composite
def patches(draw: st.DrawFn, shape: tuple[int, ...]) -> Patch:
    start = [draw(st.integers(0, dim - 1)) for dim in shape]
    sizes = [draw(st.integers(1, dim - at)) for dim, at in zip(shape, start, strict=True)]
    seed = draw(st.integers(0, 2**16))
    values = np.random.default_rng(seed).integers(-9, 10, (2, *sizes)).astype(np.float64)
    return Patch(shape, tuple(start), values)


def flat(patch: Patch) -> np.ndarray:
    return patch.whole().reshape(2, -1)


@given(st.data())
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((24,), (2, 3, 4)),
        ((24,), (1, 2, 3, 4)),
        ((24,), (6, 1, 4)),
        ((1, 24, 1), (4, 6)),
        ((2, 3, 4), (24,)),
        ((2, 3, 4), (4, 3, 2)),
        ((2, 1, 3, 4), (1, 2, 3, 4)),
        ((2, 3, 4), (2, 3, 4)),
    ],
)
def test_another_shape(
    before: tuple[int, ...], after: tuple[int, ...], data: st.DataObject
) -> None:
    patch = data.draw(patches(before))
    seen = patch.seen_as(after)
    assert seen.shape == after
    assert seen.whole().shape == (2, *after)
    assert np.array_equal(flat(seen), flat(patch))


@given(patches((3, 4, 2)), st.one_of(patches((3, 4, 2)), patches((24,))))
def test_sums(one: Patch, other: Patch) -> None:
    assert np.array_equal(flat(one.plus(other)), flat(one) + flat(other))


@given(patches((3, 4, 2)), st.integers(0, 2**16))
def test_values_and_bounds(patch: Patch, seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.integers(-99, 99, (2, 24)).astype(np.float64), axis=0)
    whole = flat(patch)
    assert np.array_equal(patch.times(low), whole @ low)
    assert np.array_equal(patch.size(np.abs(high)), np.abs(whole) @ np.abs(high))
    least = np.where(whole > 0, whole * low, whole * high).sum(axis=1)
    assert np.array_equal(patch.least(low, high), least)
    assert patch.cells == math.prod(patch.values.shape[1:])


def test_rows_of_an_image_stay_few() -> None:
    patch = Patch((1000,), (130,), np.ones((2, 40)))
    seen = patch.seen_as((1, 10, 20, 5))
    assert seen.start == (0, 1, 0, 0)
    assert seen.values.shape == (2, 1, 1, 20, 5)
