"""Moves against place-by-place versions, and the linearity that makes them safe on shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph import moves
from libmpc.graph.plan import (
    AddStep,
    ConcatStep,
    ExpandStep,
    MoveStep,
    PadStep,
    SliceStep,
    SumPoolStep,
    SumStep,
    Window,
)
from tests import naive
from tests.runtime.random_plans import random_plan

Words = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


def random_moves(seed: int) -> list[MoveStep]:
    return [s for s in random_plan(np.random.default_rng(seed)).steps if isinstance(s, MoveStep)]


def draw(rng: np.random.Generator, step: MoveStep, batch: int) -> list[Words]:
    """Sources, of which equal ones are different values here."""
    return [rng.integers(0, 2**64, (batch, size), np.uint64) for size in step.read_sizes]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 3))
def test_place_by_place(seed: int, batch: int) -> None:
    rng = np.random.default_rng(seed)
    for step in random_moves(seed):
        sources = draw(rng, step, batch)
        got = moves.apply(step, sources, fill=True)
        assert got.shape == (batch, *step.output_shape)
        assert got.dtype == np.uint64
        assert got.flags.c_contiguous
        for sample in range(batch):
            parts = [naive.ints(source[sample]) for source in sources]
            expected = naive.ring(naive.move(step, parts)).reshape(step.output_shape)
            assert np.array_equal(got[sample], expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_shares_may_be_moved_one_by_one(seed: int) -> None:
    """x + λ moved, with the constant, less λ moved, without it, is x moved, with it."""
    rng = np.random.default_rng(seed)
    for step in random_moves(seed):
        x, masks = draw(rng, step, 2), draw(rng, step, 2)
        masked = [a + b for a, b in zip(x, masks, strict=True)]
        difference = moves.apply(step, masked, fill=True) - moves.apply(step, masks, fill=False)
        assert np.array_equal(difference, moves.apply(step, x, fill=True))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_sources_are_not_written_to(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for step in random_moves(seed):
        sources = draw(rng, step, 1)
        before = [source.copy() for source in sources]
        moves.apply(step, sources, fill=True)
        assert all(np.array_equal(a, b) for a, b in zip(sources, before, strict=True))


def row(*values: int) -> Words:
    return np.array([values], np.int64).view(np.uint64)


@pytest.mark.parametrize(
    ("step", "sources", "expected"),
    [
        (AddStep(inputs=(0, 0), coefficients=(2, -3), shape=(2,)), [(1, 5), (10, 1)], [-28, 7]),
        (
            PadStep(source=0, shape=(3,), before=(1,), after=(2,), between=(1,), value=-9),
            [(1, 2, 3)],
            [-9, 1, -9, 2, -9, 3, -9, -9],
        ),
        (
            SliceStep(source=0, shape=(5,), starts=(4,), sizes=(3,), strides=(-2,)),
            [(0, 1, 2, 3, 4)],
            [4, 2, 0],
        ),
        (
            ConcatStep(inputs=(0, 0), shapes=((2, 1), (2, 2)), axis=1),
            [(1, 2), (3, 4, 5, 6)],
            [[1, 3, 4], [2, 5, 6]],
        ),
        (ExpandStep(source=0, shape=(2, 1), target=(2, 2)), [(7, 8)], [[7, 7], [8, 8]]),
        (SumStep(source=0, shape=(2, 2), axes=(0, 1)), [(1, 2, 3, 4)], [10]),
        (
            SumPoolStep(
                source=0,
                window=Window(height=2, width=2, channels=1, kernel=(2, 2), padding=(1, 0, 0, 0)),
            ),
            [(1, 2, 3, 4)],
            [[[3]], [[10]]],
        ),
    ],
    ids=lambda value: getattr(value, "op", None),
)
def test_by_hand(step: MoveStep, sources: list[tuple[int, ...]], expected: list[int]) -> None:
    got = moves.apply(step, [row(*source) for source in sources], fill=True)
    assert got[0].view(np.int64).tolist() == expected


def test_masks_are_padded_with_zeros() -> None:
    step = PadStep(source=0, shape=(1,), before=(1,), after=(0,), between=(0,), value=5)
    assert moves.apply(step, [row(3)], fill=True).tolist() == [[5, 3]]
    assert moves.apply(step, [row(3)], fill=False).tolist() == [[0, 3]]


def test_random_plans_have_every_move() -> None:
    ops = {step.op for seed in range(60) for step in random_moves(seed)}
    assert ops == {step.model_fields["op"].default for step in MoveStep.__args__}


def test_a_changed_copy_has_its_own_sizes() -> None:
    window = Window(height=5, width=5, channels=1, kernel=(2, 2))
    step = SumPoolStep(source=0, window=window)
    assert (window.output_size, step.size) == ((4, 4), 16)
    wide = window.model_copy(update={"width": 7})
    assert wide.output_size == (4, 6)
    assert step.model_copy(update={"window": wide}).size == 24
