"""Mask, pick, pick bits and lookup: exact, at their declared cost, and by the book."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.plan.groups import Groups
from libmpc.prg import Stream
from libmpc.protocol import ProtocolError, lookup, mask, output_bits, pick, pick_bits, top
from libmpc.runtime.channel import Traffic
from tests.protocol import label_book, label_book_top
from tests.protocol.harness import MASK, STEP, ConstantStream, Words, fresh
from tests.protocol.label_steps import (
    Halves,
    run_lookup,
    run_mask,
    run_pick,
    run_pick_bits,
    run_top,
    split,
    xor_split,
)

KEYS = (bytes([0, 0]) + bytes(14), bytes([1, 0]) + bytes(14))  # those of ``fresh()``
FORMS = [Groups(1, 1, 1), Groups(7, 1, 1), Groups(7, 2, 2), Groups(30, 4, 3)]
each_form = pytest.mark.parametrize("form", FORMS, ids=str)
BATCH = 5


def uniform(count: int, seed: int = 0) -> Words:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def some_bits(count: int, seed: int = 0) -> Words:
    return np.random.default_rng(seed).integers(0, 2, count, np.uint64)


def rows_of(form: Groups, seed: int = 0) -> tuple[Words, np.ndarray]:
    """One-hot rows (batch, keep · candidates) and what they point at (batch, winners)."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((BATCH, form.keep * form.candidates), np.uint64)
    chosen = np.zeros((BATCH, form.groups * form.keep), np.int64)
    for sample in range(BATCH):
        start, at = 0, 0
        for g, size in enumerate(form.sizes):
            for k in range(form.keep):
                winner = int(rng.integers(size))
                rows[sample, at + winner] = 1
                chosen[sample, g * form.keep + k] = start + winner
                at += size
            start += size
    return rows, chosen


def counted(traffic: Traffic, correction: bytes) -> tuple[int, int, int]:
    assert traffic.sent[0] == traffic.sent[1]
    return traffic.rounds, traffic.sent[0], len(correction)


def declared(cost: object) -> tuple[int, int, int]:
    return cost.rounds, cost.online_bytes, cost.correction_bytes  # type: ignore[attr-defined]


@pytest.mark.parametrize("count", [0, 1, 7, 1000])
def test_mask(count: int) -> None:
    values, missing, traffic = uniform(count), uniform(count, 1), Traffic()
    found, sent = run_mask(values, missing, traffic=traffic)
    assert np.array_equal(found, values & MASK)
    assert (
        counted(traffic, sent.correction) == declared(mask.cost(count)) == (1, 6 * count, 6 * count)
    )


@each_form
def test_pick(form: Groups) -> None:
    rows, chosen = rows_of(form)
    values = uniform(BATCH * form.candidates)
    lam, traffic = uniform(values.size, 1), Traffic()
    found, sent = run_pick(form, xor_split(rows), values, lam, traffic=traffic)
    wanted = np.take_along_axis(values.reshape(BATCH, -1), chosen, axis=1)
    assert np.array_equal(found, wanted.reshape(-1) & MASK)
    assert counted(traffic, sent.correction) == declared(pick.cost(form, BATCH))


@each_form
@pytest.mark.parametrize("width", [1, 4, 12])
def test_pick_bits(form: Groups, width: int) -> None:
    rows, chosen = rows_of(form)
    digits, traffic = some_bits(BATCH * form.candidates * width), Traffic()
    found, sent = run_pick_bits(form, xor_split(rows), xor_split(digits, 1), width, traffic=traffic)
    wanted = np.take_along_axis(digits.reshape(BATCH, -1, width), chosen[:, :, np.newaxis], axis=1)
    assert np.array_equal(found, wanted.reshape(-1))
    assert counted(traffic, sent.correction) == declared(pick_bits.cost(form, width, BATCH))


@pytest.mark.parametrize("width", [1, 4, 7])
def test_lookup(width: int) -> None:
    """Every number against every place."""
    every = np.arange(1 << width, dtype=np.uint64)
    digits = (every[:, np.newaxis] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
    places, traffic = list(range(1 << width)), Traffic()
    found, sent = run_lookup(xor_split(digits.reshape(-1)), width, places, traffic=traffic)
    assert np.array_equal(found.reshape(len(every), -1), np.eye(len(every)))
    assert counted(traffic, sent.correction) == declared(lookup.cost(width, len(every)))


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0xA5])
def test_constant_masks(byte: int) -> None:
    form = FORMS[2]

    def make(party: int) -> Stream:
        return ConstantStream(byte)

    rows, chosen = rows_of(form)
    values, digits = uniform(BATCH * form.candidates), some_bits(BATCH * form.candidates * 3)
    found, _ = run_pick(form, xor_split(rows), values, values[::-1].copy(), make)
    wanted = np.take_along_axis(values.reshape(BATCH, -1), chosen, axis=1)
    assert np.array_equal(found, wanted.reshape(-1) & MASK)
    words, _ = run_pick_bits(form, xor_split(rows), xor_split(digits), 3, make)
    picked = np.take_along_axis(digits.reshape(BATCH, -1, 3), chosen[:, :, np.newaxis], axis=1)
    assert np.array_equal(words, picked.reshape(-1))
    hits, _ = run_lookup(xor_split(digits), 3, [0, 5], make)
    numbers = digits.reshape(-1, 3) @ np.array([1, 2, 4], np.uint64)
    assert np.array_equal(hits.reshape(-1, 2), np.stack((numbers == 0, numbers == 5), axis=1))
    masked, _ = run_mask(values, digits[: values.size], make)
    assert np.array_equal(masked, values & MASK)


def test_what_leaves_in_bits_is_rerandomised() -> None:
    share = some_bits(1000)
    streams = [Stream(bytes([2]) + bytes(15)) for _ in (0, 1)]
    first = output_bits.rerandomise(STEP, share, streams[0])
    second = output_bits.rerandomise(STEP, share ^ np.uint64(1), streams[1])
    assert np.array_equal(first ^ second, np.ones(1000))
    r = first ^ share
    assert 400 < r.sum() < 600
    assert set(np.unique(first)) == {0, 1}


# ---- by the book


def lists(halves: Halves) -> list[list[int]]:
    return [[int(v) for v in half] for half in halves]


def ints(values: Words) -> list[int]:
    return [int(v) for v in values]


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from([(1, 1, 1), (2, 1, 1), (5, 1, 1), (9, 2, 1), (5, 1, 3), (14, 1, 1), (7, 2, 2)]),
    st.integers(0, 2**32),
)
def test_top_is_by_the_book(form: tuple[int, int, int], seed: int) -> None:
    groups, rng = Groups(*form), np.random.default_rng(seed)
    values = rng.integers(-(2**46), 2**46, 2 * groups.candidates, np.int64) >> rng.integers(0, 47)
    flat, lam = values.view(np.uint64), uniform(values.size, seed)
    _, sent = run_top(groups, flat, lam)
    book = label_book_top.top(STEP, KEYS, ints(flat + lam), ints(lam), form)
    assert (sent.correction, sent.messages) == (book.correction, book.messages)
    assert lists(sent.results) == list(book.results)


def test_the_largest_pattern_is_by_the_book() -> None:
    form = (10, 1, 1)
    flat, lam = uniform(20) >> np.uint64(20), uniform(20, 1)
    _, sent = run_top(Groups(*form), flat, lam)
    book = label_book_top.top(STEP, KEYS, ints(flat + lam), ints(lam), form)
    assert (sent.correction, sent.messages) == (book.correction, book.messages)
    assert lists(sent.results) == list(book.results)


@each_form
def test_pick_is_by_the_book(form: Groups) -> None:
    rows, _ = rows_of(form, 3)
    values, lam = uniform(BATCH * form.candidates, 4), uniform(BATCH * form.candidates, 5)
    one_hot = xor_split(rows.reshape(-1))
    _, sent = run_pick(form, one_hot, values, lam)
    own = split(lam, 1)
    shape = (form.candidates, form.groups, form.keep)
    book = label_book.pick(
        *(STEP, KEYS, lists(one_hot), ints(values + lam)),
        *(list(zip(ints(own[0]), ints(own[1]), strict=True)), shape),
    )
    assert (sent.correction, sent.messages) == (book.correction, book.messages)
    assert [ints(half & MASK) for half in sent.results] == list(book.results)


@each_form
def test_pick_bits_is_by_the_book(form: Groups) -> None:
    rows, _ = rows_of(form, 3)
    one_hot = xor_split(rows.reshape(-1))
    digits = xor_split(some_bits(BATCH * form.candidates * 3), 6)
    _, sent = run_pick_bits(form, one_hot, digits, 3)
    shape = (form.candidates, form.groups, form.keep)
    book = label_book.pick_bits(STEP, KEYS, lists(one_hot), lists(digits), 3, shape)
    assert (sent.correction, sent.messages) == (book.correction, book.messages)
    assert lists(sent.results) == list(book.results)


@pytest.mark.parametrize("width", [1, 4, 6])
def test_lookup_is_by_the_book(width: int) -> None:
    digits = xor_split(some_bits(7 * width))
    places = [0, 1, (1 << width) - 1]
    _, sent = run_lookup(digits, width, places)
    book = label_book.lookup(STEP, KEYS, lists(digits), width, places)
    assert (sent.correction, sent.messages) == (book.correction, book.messages)
    assert [ints(half & MASK) for half in sent.results] == list(book.results)


def test_mask_is_by_the_book() -> None:
    values, missing = uniform(9), uniform(9, 1)
    _, sent = run_mask(values, missing)
    shares = list(zip(*(ints(half) for half in split(values - missing)), strict=True))
    book = label_book.mask(STEP, KEYS, shares, ints(missing))
    assert (sent.correction, sent.messages) == (book.correction, book.messages)
    assert [ints(half & MASK) for half in sent.results] == list(book.results)


# ---- lengths


@pytest.mark.parametrize("difference", [None, -1, 1])
def test_corrections_of_the_wrong_length(difference: int | None) -> None:
    form = Groups(7, 2, 2)

    def bad(right: int) -> bytes | None:
        return None if difference is None else bytes(right + difference)

    stream = fresh()(1)
    with pytest.raises(ProtocolError):
        mask.prepare(STEP, 1, 5, stream, bad(30))
    with pytest.raises(ProtocolError):
        pick.prepare(STEP, 1, form, np.zeros(14, np.uint64), stream, bad(12 * 28))
    with pytest.raises(ProtocolError):
        pick_bits.prepare(STEP, 1, form, 3, 2, stream, bad(3))
    with pytest.raises(ProtocolError):
        lookup.prepare(STEP, 1, 4, 2, stream, bad(6 * 32))


def test_nothing_prints_a_value() -> None:
    form = Groups(7, 2, 2)
    parts = [
        mask.prepare(STEP, 0, 5, fresh()(0), None),
        pick.prepare(STEP, 0, form, np.zeros(14, np.uint64), fresh()(0), None),
        pick_bits.prepare(STEP, 0, form, 3, 2, fresh()(0), None),
        lookup.prepare(STEP, 0, 4, 2, fresh()(0), None),
        top.prepare(STEP, 0, form, 2, fresh()(0), None),
    ]
    assert [repr(part) for part in parts] == [
        "PreparedMask(values=5)",
        "PreparedPick(values=8)",
        "PreparedPickBits(bits=24)",
        "PreparedLookup(numbers=2)",
        "PreparedTop(candidates=14)",
    ]
