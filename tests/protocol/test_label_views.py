"""What one evaluator sees of the steps behind a label is random, whoever wins.

As ``test_views``: all that it draws, is dealt and receives on thousands of equal samples must be
uniform bits, no two of which depend on each other.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from libmpc.graph.plan.groups import Groups
from libmpc.prg import Stream
from libmpc.protocol import lookup, mask, pick, pick_bits, top
from tests.protocol.harness import MakeStream, Words
from tests.protocol.label_steps import (
    Sent,
    run_lookup,
    run_mask,
    run_pick,
    run_pick_bits,
    run_top,
    split,
    xor_split,
)
from tests.protocol.test_views import Bits, Recorder

COUNT = 1 << 13
SIGMAS = 7.0
AT_ONCE, RANKED = Groups(3, 1, 1), Groups(3, 1, 2)
MASK, BITS, SELECT, OUTPUT, TOP, TABLES, RANK, PICK, PICK_BITS, LOOKUP = (
    *(1, 3, 4, 6, 17, 18, 19, 20, 21, 22),
)
Drawn = dict[int, bytes]


def packed_bits(data: bytes, each: int) -> Bits:
    """Of each sample ``each`` bits."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return bits[: COUNT * each].reshape(COUNT, each).astype(np.float32)


def numbers(data: bytes, size: int, keep: int | None = None) -> Bits:
    """The lowest bits of whole numbers of ``size`` bytes, (numbers, bits)."""
    one = np.frombuffer(data, np.uint8).reshape(-1, size)
    bits = np.unpackbits(one, axis=1, bitorder="little")[:, :keep]
    return bits.astype(np.float32)


def by_sample(bits: Bits, rows: int, each: int) -> Bits:
    """From (rows · COUNT · each, width): (COUNT, …)."""
    return bits.reshape(rows, COUNT, each, -1).transpose(1, 0, 2, 3).reshape(COUNT, -1)


def of_words(data: bytes, rows: int, each: int, size: int = 8, keep: int | None = None) -> Bits:
    return by_sample(numbers(data, size, keep), rows, each)


def masked(values: Words, lam: Words, party: int) -> list[Bits]:
    """m and the own λ_j, as the harness splits λ."""
    each = values.size // COUNT
    parts = ((values + lam), split(lam, 1)[party])
    return [of_words(part.tobytes(), 1, each, keep=48) for part in parts]


def top_view(form: Groups, value: int, party: int, make: MakeStream, drawn: Drawn) -> list[Bits]:
    values = np.tile(np.array([value, 0, 5 - value], np.int64).view(np.uint64), COUNT)
    lam = np.random.default_rng(9).integers(0, 2**64, values.size, np.uint64)
    _, sent = run_top(form, values, lam, make)
    seen = masked(values, lam, party)
    seen += [of_words(drawn[BITS], 1, 3, 2), packed_bits(drawn[SELECT], 3)]
    at = 14 * 8 * 3 * COUNT
    shares = (sent.correction[:at], sent.correction[at:])
    if party == 0:
        shares = (drawn[TOP], drawn[TABLES])
    seen += [of_words(shares[0], 14, 3), of_words(shares[1], 1, 3)]
    received = sent.messages[1 - party]
    seen += [of_words(received[0], 1, 3, 2), packed_bits(received[1], 3)]
    if form.keep > 1:
        seen += [of_words(drawn[RANK], 1, 3, 2), of_words(received[2], 1, 3, 2, keep=6)]
    return seen


def one_hot(value: int) -> Words:
    return np.tile(np.eye(3, dtype=np.uint64)[value % 3], COUNT)


def pick_view(value: int, party: int, make: MakeStream, drawn: Drawn) -> list[Bits]:
    values = np.tile(np.array([value, 0, 5 - value], np.int64).view(np.uint64), COUNT)
    lam = np.random.default_rng(9).integers(0, 2**64, values.size, np.uint64)
    rows = xor_split(one_hot(value), 3)
    _, sent = run_pick(AT_ONCE, rows, values, lam, make)
    shares = drawn[PICK] if party == 0 else sent.correction
    received = sent.messages[1 - party]
    return [
        *masked(values, lam, party),
        rows[party].reshape(COUNT, 3).astype(np.float32),
        packed_bits(drawn[BITS], 3),
        of_words(drawn[MASK], 1, 1),
        of_words(shares, 2, 3, 6),
        packed_bits(received[0], 3),
        of_words(received[1], 1, 1, 6),
    ]


def pick_bits_view(value: int, party: int, make: MakeStream, drawn: Drawn) -> list[Bits]:
    rows = xor_split(one_hot(value), 3)
    words = xor_split(np.tile(np.array([1, 0, 1, 0, 0, 1], np.uint64), COUNT), 4)
    _, sent = run_pick_bits(AT_ONCE, rows, words, 2, make)
    shares = drawn[PICK_BITS] if party == 0 else sent.correction
    received = packed_bits(sent.messages[1 - party][0], 9).reshape(-1)
    own = packed_bits(drawn[BITS], 9).reshape(-1)
    seen = [rows[party].reshape(COUNT, 3), words[party].reshape(COUNT, 6)]
    for bits in (received, own):
        seen += [bits[: 3 * COUNT].reshape(COUNT, 3), bits[3 * COUNT :].reshape(COUNT, 6)]
    return [*(part.astype(np.float32) for part in seen), packed_bits(shares, 2)]


def lookup_view(value: int, party: int, make: MakeStream, drawn: Drawn) -> list[Bits]:
    digits = np.tile(np.array([value & 1, value >> 1 & 1, 1], np.uint64), COUNT)
    number = xor_split(digits, 3)
    _, sent = run_lookup(number, 3, [0], make)
    shares = drawn[LOOKUP] if party == 0 else sent.correction
    return [
        number[party].reshape(COUNT, 3).astype(np.float32),
        packed_bits(drawn[BITS], 3),
        of_words(shares, 1, 8, 6),
        packed_bits(sent.messages[1 - party][0], 3),
    ]


def mask_view(value: int, party: int, make: MakeStream, drawn: Drawn) -> list[Bits]:
    values = np.full(COUNT, value % 2**64, np.uint64)
    missing = np.full(COUNT, 77, np.uint64)
    _, sent = run_mask(values, missing, make)
    added = of_words(drawn[OUTPUT], 1, 1) if party == 0 else of_words(sent.correction, 1, 1, 6)
    received = of_words(sent.messages[1 - party][0], 1, 1, 6)
    return [of_words(drawn[MASK], 1, 1), added, received]


View = Callable[[int, int, MakeStream, Drawn], list[Bits]]
VIEWS: dict[str, View] = {
    "winner": lambda *given: top_view(AT_ONCE, *given),
    "ranks": lambda *given: top_view(RANKED, *given),
    "pick": pick_view,
    "pick_bits": pick_bits_view,
    "lookup": lookup_view,
    "mask": mask_view,
}


def view(name: str, value: int, party: int) -> Bits:
    drawn: Drawn = {}

    def make(end: int) -> Stream:
        recorder = Recorder(end)
        if end == party:
            # Dealer and evaluator draw the same; what only one of them draws is kept from it.
            recorder.drawn = drawn
        return recorder

    return np.concatenate(VIEWS[name](value, party, make, drawn), axis=1)


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("value", [0, -(2**46) + 3, 2])
@pytest.mark.parametrize("party", [0, 1])
def test_views_are_uniform(name: str, value: int, party: int) -> None:
    if value == 2 and name in ("winner", "ranks"):
        value = 2**46  # another one wins
    bits = view(name, value, party) * 2 - 1
    assert bits.shape[1] >= 20
    limit = SIGMAS / np.sqrt(COUNT)
    assert float(np.abs(bits.mean(axis=0)).max()) < limit
    together = np.abs(bits.T @ bits) / COUNT
    np.fill_diagonal(together, 0)
    assert float(together.max()) < limit


def test_the_dealer_takes_no_value_and_no_message() -> None:
    for step in (mask, top, pick, pick_bits, lookup):
        given = set(inspect.signature(step.deal).parameters)
        assert given <= {
            *("step", "groups", "width", "batch", "missing", "lam"),
            *("stream0", "stream1", "correction"),
        }
        assert not inspect.iscoroutinefunction(step.deal)


def test_corrections_do_not_depend_on_values() -> None:
    lam = np.arange(12, dtype=np.uint64)

    def corrections(value: int) -> list[Any]:
        values = np.full(12, value, np.uint64)
        sent: list[Sent] = [
            run_top(AT_ONCE, values, lam)[1],
            run_pick(AT_ONCE, xor_split(values & np.uint64(1)), values, lam)[1],
            run_mask(values, lam)[1],
        ]
        return [part.correction for part in sent]

    assert corrections(0) == corrections(2**45 + 1)
