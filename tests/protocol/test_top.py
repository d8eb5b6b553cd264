"""Comparisons of 48 bits, and the largest of a group: exact, at their declared cost."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.plan.groups import Groups
from libmpc.protocol import Compute, ProtocolError, top, wide
from libmpc.protocol.exchange import Payload
from libmpc.runtime.channel import Traffic
from tests.protocol.harness import STEP, ConstantStream, Words, fresh, words
from tests.protocol.label_steps import run_top

PAIR = Groups(2, 1, 1)
LOW, HIGH = -(2**47), 2**47 - 1
EDGES = (0, 6, 12, 18, 24, 30, 36, 42, 47, 48)
FORMS = [
    Groups(*form)
    for form in [
        *((n, 1, 1) for n in range(1, 14)),
        *((n, 1, k) for n, k in ((2, 2), (5, 2), (10, 10), (16, 3), (33, 1), (64, 16))),
        *((25, 2, 1), (26, 3, 1), (25, 3, 2), (100, 4, 5), (7, 7, 1)),
    ]
]


def numbers() -> list[int]:
    """At and next to every chunk's edge, of both signs, runs of ones, both ends."""
    found = {0, LOW, LOW + 1, HIGH - 1, HIGH}
    for bit in EDGES:
        for near in (-1, 0, 1):
            found |= {2**bit + near, -(2**bit) + near}
    for low in EDGES:
        found |= {2**high - 2**low for high in EDGES if high > low}
    return sorted(found)


def first_wins(differences: Words, lam: Words, make: object = None) -> Words:
    """[d ≥ 0] by way of pairs (d + y, y), whose masks differ by λ."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 2**64, differences.size, np.uint64)
    other = rng.integers(0, 2**64, differences.size, np.uint64)
    values = np.stack((differences + base, base), axis=1).reshape(-1)
    masks = np.stack((lam + other, other), axis=1).reshape(-1)
    rows, _ = run_top(PAIR, values, masks, make)  # type: ignore[arg-type]
    assert np.array_equal(rows.sum(axis=1), np.ones(differences.size))
    return rows[:, 0]


def not_negative(differences: Words) -> Words:
    return (differences.view(np.int64) >= 0).astype(np.uint64)


def expected(form: Groups, values: np.ndarray) -> Words:
    """One-hot rows by numpy's stable sort of signed values (batch, candidates)."""
    rows, start = [], 0
    for size in form.sizes:
        order = np.argsort(-values[:, start : start + size], axis=1, kind="stable")
        rows += [order[:, k, np.newaxis] == np.arange(size) for k in range(form.keep)]
        start += size
    return np.concatenate(rows, axis=1).astype(np.uint64)


def random_values(form: Groups, batch: int, seed: int) -> np.ndarray:
    """Of all magnitudes, many of them equal, within ±2^46."""
    rng = np.random.default_rng(seed)
    shape = (batch, form.candidates)
    values = rng.integers(-(2**46), 2**46, shape, np.int64) >> rng.integers(0, 47, (batch, 1))
    some = rng.integers(0, form.candidates, shape)
    return np.where(rng.random(shape) < 0.3, np.take_along_axis(values, some, 1), values)


def test_every_edge_against_every_mask() -> None:
    inside = [d for d in numbers() if LOW <= d <= HIGH]
    masks = [v % 2**48 for v in numbers()]
    pairs = [(d, lam) for d in inside for lam in masks]
    pairs += [(d, (opened - d) % 2**48) for d in inside for opened in masks]
    differences, lam = words(d for d, _ in pairs), words(lam for _, lam in pairs)
    assert np.array_equal(first_wins(differences, lam), not_negative(differences))


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x55])
def test_constant_masks(byte: int) -> None:
    inside = words(d for d in numbers() if LOW <= d <= HIGH)
    for lam in (0, 2**48 - 1, 2**47):
        masks = np.full(inside.size, lam, np.uint64)
        wins = first_wins(inside, masks, lambda party: ConstantStream(byte))
        assert np.array_equal(wins, not_negative(inside))


def test_every_chunk_pattern_against_every_mask() -> None:
    """All pairs of 8-bit patterns at places that reach over every chunk's edge."""
    a, b = np.meshgrid(np.arange(256, dtype=np.uint64), np.arange(256, dtype=np.uint64))
    for shift in (0, 5, 10, 16, 22, 28, 34, 40):
        lam, opened = a.ravel() << np.uint64(shift), b.ravel() << np.uint64(shift)
        # The difference as the ring has it, in [−2^47, 2^47).
        differences = (((opened - lam) << np.uint64(16)).view(np.int64) >> 16).view(np.uint64)
        assert np.array_equal(first_wins(differences, lam), not_negative(differences))


def test_millions_of_random_differences() -> None:
    rng = np.random.default_rng(0)
    differences = rng.integers(LOW, HIGH, 1 << 20, np.int64, endpoint=True)
    differences[1 << 19 :] >>= rng.integers(0, 48, 1 << 19)
    lam = rng.integers(0, 2**64, 1 << 20, np.uint64)
    found = first_wins(differences.view(np.uint64), lam)
    assert np.array_equal(found, not_negative(differences.view(np.uint64)))


@pytest.mark.parametrize(("end", "beyond"), [(LOW, -1), (HIGH, 1)])
def test_both_ends_are_sharp(end: int, beyond: int) -> None:
    lam = np.random.default_rng(0).integers(0, 2**48, 4096, np.uint64)
    lam[:6] = [0, 1, 2**47 - 1, 2**47, 2**47 + 1, 2**48 - 1]
    at_end = words([end]).repeat(lam.size)
    assert np.array_equal(first_wins(at_end, lam), not_negative(at_end))
    outside = at_end + np.uint64(beyond % 2**64)
    assert not (first_wins(outside, lam) == not_negative(outside)).any()


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_largest_of_every_group(form: Groups) -> None:
    batch = max(3, 300 // form.candidates)
    values = random_values(form, batch, form.candidates)
    values[0] = 0
    values[1] = np.arange(form.candidates)
    values[2] = -np.arange(form.candidates)
    flat = values.view(np.uint64).reshape(-1)
    lam = np.random.default_rng(1).integers(0, 2**64, flat.size, np.uint64)
    traffic = Traffic()
    rows, sent = run_top(form, flat, lam, traffic=traffic)
    assert np.array_equal(rows, expected(form, values))
    cost = top.cost(form, batch)
    assert (traffic.rounds, traffic.sent) == (cost.rounds, (cost.online_bytes,) * 2)
    assert len(sent.correction) == cost.correction_bytes


def test_every_order_of_few_candidates() -> None:
    """All 3^4 rows of three different values: every pattern of ties, in both ways of winning."""
    values = np.array(list(np.ndindex(3, 3, 3, 3)), np.int64) * 2**44 - 2**44
    flat = values.view(np.uint64).reshape(-1)
    lam = np.random.default_rng(2).integers(0, 2**64, flat.size, np.uint64)
    for keep in (1, 4):
        form = Groups(4, 1, keep)
        rows, _ = run_top(form, flat, lam)
        assert np.array_equal(rows, expected(form, values))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_winner_is_numpys(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 14))
    near = st.sampled_from([v for v in numbers() if -(2**46) <= v < 2**46])
    row = st.lists(st.one_of(near, st.integers(-(2**46), 2**46 - 1)), min_size=n, max_size=n)
    values = np.array(data.draw(st.lists(row, min_size=1, max_size=5)), np.int64)
    flat = values.view(np.uint64).reshape(-1)
    lam = words(data.draw(st.integers(0, 2**48 - 1)) for _ in range(flat.size))
    rows, _ = run_top(Groups(n, 1, 1), flat, lam)
    assert rows.argmax(axis=1).tolist() == values.argmax(axis=1).tolist()


def test_declared_cost() -> None:
    ten = top.cost(Groups(10, 1, 1), 8)
    assert (ten.rounds, ten.online_bytes) == (2, 8 * 45 * 2 + 45)
    assert ten.correction_bytes == 8 * (45 * 112 + 10 * 64)
    ranked = top.cost(Groups(10, 1, 2), 8)
    assert (ranked.rounds, ranked.online_bytes) == (3, 8 * 45 * 2 + 45 + 8 * 10 * 2)
    assert ranked.correction_bytes == 8 * (45 * 112 + 10 * 8)


@pytest.mark.parametrize("difference", [None, -1, 1])
def test_corrections_of_the_wrong_length(difference: int | None) -> None:
    form = Groups(5, 1, 2)
    right = top.correction_bytes(form, 3)
    correction = None if difference is None else bytes(right + difference)
    with pytest.raises(ProtocolError):
        top.prepare(STEP, 1, form, 3, fresh()(1), correction)
    inner = top.prepare(STEP, 1, form, 3, fresh()(1), bytes(right))
    assert repr(inner) == "PreparedTop(candidates=15)"
    assert repr(inner.wide) == "PreparedWide(values=30)"
    assert inner.nbytes == right + 2 * 30 + 4 + 2 * 15


@pytest.mark.parametrize("failing_round", range(3))
@pytest.mark.parametrize("difference", [-1, 1])
def test_messages_of_the_wrong_length(failing_round: int, difference: int) -> None:
    form = Groups(5, 1, 2)
    seen: list[int] = []

    async def exchange(tag: int, payload: Payload) -> bytes:
        seen.append(tag)
        return bytes(len(payload) + (difference if len(seen) == failing_round + 1 else 0))

    inner = top.prepare(STEP, 0, form, 1, fresh()(0), None)
    m = np.zeros(5, np.uint64)
    with pytest.raises(ProtocolError):
        asyncio.run(top.evaluate(STEP, 0, form, m, inner, exchange, Compute()))
    assert seen == [40, 41, 42][: failing_round + 1]


def test_threads_give_the_same_and_sources_stay_as_they_are() -> None:
    form = Groups(40, 2, 1)
    m = np.arange(400, dtype=np.uint64) << np.uint64(30)
    before = m.copy()

    async def echo(tag: int, payload: Payload) -> Payload:
        return payload

    here, there = (
        asyncio.run(
            top.evaluate(
                *(STEP, 0, form, m, top.prepare(STEP, 0, form, 10, fresh()(0), None), echo),
                Compute(threshold=threshold),
            )
        )
        for threshold in (1.0, 0.0)
    )
    assert np.array_equal(here, there)
    assert np.array_equal(m, before)


def test_a_comparison_has_no_more_words_than_it_declares() -> None:
    assert wide.LAYOUT.correction_bytes(1) == 112
    assert wide.online_bytes(8) == 17
