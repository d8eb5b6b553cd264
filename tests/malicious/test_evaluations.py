"""A stolen gateway and private evaluations: parts mixed, dropped, repeated; the sum redirected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from libmpc.client.evaluating import Score
from libmpc.errors import IntegrityError, LibmpcError, UnavailableError
from libmpc.link import Message
from libmpc.party.messages import Kind
from tests.malicious.stolen import (
    BATCH,
    OTHER_PLAN,
    OTHER_WEIGHTS,
    PLAN,
    WEIGHTS,
    Stolen,
    attack,
    close_batch,
    inputs,
    open_batch,
    refused,
)
from tests.party.triple import expected

Answers = list[tuple[int, bytes]]
Outcome = Score | LibmpcError
SAMPLES, ROWS = 12, 4
PARTS = SAMPLES // ROWS


def labels(seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 3, SAMPLES)


def correct(seed: int) -> int:
    guesses = expected(PLAN, WEIGHTS, inputs(SAMPLES, seed)).argmax(axis=1)
    return int((guesses == labels(seed)).sum())


async def evaluate(it: Stolen, seed: int = 1, timeout: float = 20, in_flight: int = 4) -> Outcome:
    """An honest data holder's evaluation: what it believes, or the error that it gets."""
    async with it.client(timeout=timeout) as client:
        try:
            return await client.evaluate(
                "mnist", inputs(SAMPLES, seed), labels(seed), batch_size=ROWS, in_flight=in_flight
            )
        except LibmpcError as error:
            return error


def right(outcome: Outcome, seed: int = 1) -> None:
    assert isinstance(outcome, Score), outcome
    assert (outcome.samples, outcome.correct) == (SAMPLES, correct(seed))


def right_or_refused(outcome: Outcome, seed: int = 1) -> None:
    if not isinstance(outcome, LibmpcError):
        right(outcome, seed)


async def all_is_well(it: Stolen, counted: int | None = None) -> None:
    """With his hands off, evaluations and queries are answered, and counted once each."""
    it.hands.to_party = it.hands.from_party = None
    before = await it.served()
    right(await evaluate(it, 5), 5)
    await it.still_right()
    after = await it.served()
    assert after == [count + 2 for count in before]
    if counted is not None:
        assert before == [counted, counted]


class Queries:
    """The batches that go to the parties, in order, for an attacker who changes some."""

    def __init__(self, change: Callable[[int, int, bytes], Answers | None]) -> None:
        self.seen: dict[int, list[bytes]] = {0: [], 1: []}
        self._change = change

    def __call__(self, party: int, kind: int, payload: bytes) -> Answers:
        if kind != BATCH:
            return [(kind, payload)]
        number = len(self.seen[party])
        self.seen[party].append(payload)
        changed = self._change(party, number, payload)
        return [(kind, payload)] if changed is None else changed


# ---- what goes to the evaluators


def test_parts_of_two_evaluations_are_mixed(tmp_path: Path) -> None:
    """Same model, same shapes: each evaluator gets the other holder's half under each header."""

    async def work(it: Stolen) -> None:
        held: list[bytes] = []

        def swap(party: int, number: int, payload: bytes) -> Answers | None:
            batch, envelopes = open_batch(payload)
            if party == 0:
                return None
            held.extend(envelopes)
            mixed = [held[(len(held) + i) % len(held)] for i in range(len(envelopes))]
            return [(BATCH, close_batch(batch, mixed))]

        it.hands.to_party = Queries(swap)
        outcomes = await asyncio.gather(evaluate(it, 1), evaluate(it, 2))
        for outcome, seed in zip(outcomes, (1, 2), strict=True):
            right_or_refused(outcome, seed)
        assert any(isinstance(outcome, LibmpcError) for outcome in outcomes)
        await all_is_well(it)

    attack(work, tmp_path)


def test_parts_of_one_evaluation_are_exchanged(tmp_path: Path) -> None:
    """At one evaluator or at both: a part's envelope opens under its own number only."""

    async def work(it: Stolen) -> None:
        for parties in ((0,), (1,), (0, 1)):
            first: dict[int, bytes] = {}

            def exchange(
                party: int,
                number: int,
                payload: bytes,
                parties: tuple[int, ...] = parties,
                first: dict[int, bytes] = first,
            ) -> Answers | None:
                batch, envelopes = open_batch(payload)
                first.setdefault(party, envelopes[0])
                if number == 0 or party not in parties:
                    return None
                return [(BATCH, close_batch(batch, [first[party]] * len(envelopes)))]

            it.hands.to_party = Queries(exchange)
            refused(await evaluate(it), 422, 503)
        await all_is_well(it, 0)

    attack(work, tmp_path)


@pytest.mark.parametrize("parties", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("part", [0, 1, PARTS])
def test_a_part_or_the_request_for_the_sum_is_dropped(
    tmp_path: Path, part: int, parties: tuple[int, ...]
) -> None:
    """No sum over the others is ever believed; the holder hears that there is no answer."""

    async def work(it: Stolen) -> None:
        it.hands.to_party = Queries(
            lambda party, number, _: [] if number == part and party in parties else None
        )
        refused(await evaluate(it, timeout=4, in_flight=1), UnavailableError)
        # One evaluator may have let its half of the sum leave, and has counted it.
        assert max(await it.served()) <= (part == PARTS and len(parties) == 1)
        await all_is_well(it)

    attack(work, tmp_path)


@pytest.mark.parametrize("times", [2, 4])
def test_everything_is_sent_again_at_once(tmp_path: Path, times: int) -> None:
    async def work(it: Stolen) -> None:
        it.hands.to_party = Queries(lambda _, __, payload: [(BATCH, payload)] * times)
        right_or_refused(await evaluate(it))
        assert max(await it.served()) <= 1
        await all_is_well(it)

    attack(work, tmp_path)


def test_parts_and_the_sum_are_sent_again_later(tmp_path: Path) -> None:
    """While the evaluation goes on, when its sum is made, and in the next evaluation."""

    async def work(it: Stolen) -> None:
        queries = Queries(lambda *_: None)
        it.hands.to_party = queries
        right(await evaluate(it, in_flight=1))
        assert len(queries.seen[0]) == PARTS + 1
        kept = {party: list(batches) for party, batches in queries.seen.items()}
        said: list[int] = []

        def count(_: int, message: Message) -> list[Message]:
            if message.kind == Kind.RESULT:
                said.append(message.step)
            return [message]

        def again(party: int, number: int, payload: bytes) -> Answers:
            return [(BATCH, payload), (BATCH, kept[party][number % len(kept[party])])]

        it.hands.from_party, it.hands.to_party = count, Queries(again)
        right_or_refused(await evaluate(it, 2, in_flight=1), 2)
        assert said.count(409) >= 2
        assert said.count(200) <= 2 * (PARTS + 1)
        assert max(await it.served()) <= 2
        await all_is_well(it)

    attack(work, tmp_path)


def test_parts_reach_the_evaluators_in_different_orders(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        held: list[bytes] = []

        def late(party: int, number: int, payload: bytes) -> Answers | None:
            # The first part begins the evaluation; of the others party 1 gets the last one first.
            if party == 0 or not 0 < number < PARTS:
                return None
            held.append(payload)
            if len(held) < PARTS - 1:
                return []
            return [(BATCH, one) for one in held[::-1]]

        it.hands.to_party = Queries(late)
        right_or_refused(await evaluate(it, in_flight=PARTS))
        await all_is_well(it)

    attack(work, tmp_path)


def test_the_sum_is_asked_for_before_the_last_part(tmp_path: Path) -> None:
    """The last part waits until the request for the sum has been refused."""

    async def work(it: Stolen) -> None:
        kept: dict[int, bytes] = {}

        def hold(party: int, number: int, payload: bytes) -> Answers | None:
            if number == PARTS - 1:
                kept[party] = payload
                return []
            return None

        it.hands.to_party = Queries(hold)
        refused(await evaluate(it, timeout=4, in_flight=1), UnavailableError)
        assert set(kept) == {0, 1}
        assert await it.served() == [0, 0]
        await all_is_well(it, 0)

    attack(work, tmp_path)


@pytest.mark.parametrize("change", ["double", "leave out", "append", "another model", "shape"])
def test_the_list_of_a_batch_is_changed(tmp_path: Path, change: str) -> None:
    async def work(it: Stolen) -> None:
        other = await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, "other")
        kept: dict[int, tuple[object, bytes]] = {}

        def lie(party: int, number: int, payload: bytes) -> Answers:
            batch, envelopes = open_batch(payload)
            entries = batch.entries
            if change == "double":
                entries, envelopes = entries * 2, envelopes * 2
            elif change == "leave out" and party == 1:
                return []
            elif change == "append" and party in kept:
                entry, envelope = kept[party]
                entries, envelopes = (*entries, entry), [*envelopes, envelope]  # type: ignore[assignment]
            elif change in ("another model", "shape"):
                update = {"model": other} if change == "another model" else {"shape": (1, 12)}
                entries = tuple(
                    e.model_copy(update={"header": e.header.model_copy(update=update)})
                    for e in entries
                )
            kept.setdefault(party, (entries[0], envelopes[0]))
            batch = batch.model_copy(update={"entries": entries})
            model = {"model": other} if change == "another model" else {}
            return [(BATCH, close_batch(batch, envelopes, **model))]

        it.hands.to_party = Queries(lie)
        outcome = await evaluate(it, timeout=4, in_flight=1)
        if change in ("double", "append"):
            right_or_refused(outcome)
        else:
            refused(outcome)
        assert max(await it.served()) <= 1
        await all_is_well(it)

    attack(work, tmp_path)


# ---- what comes back


def _results(change: Callable[[int, Message], list[Message]]) -> Callable[..., list[Message]]:
    return lambda party, message: (
        change(party, message) if message.kind == Kind.RESULT and message.step == 200 else [message]
    )


def _with(message: Message, sealed: bytes) -> Message:
    number = bytes(message.payload)[:16]
    return Message(message.kind, message.bundle, message.step, memoryview(number + sealed))


@pytest.mark.parametrize("what", ["of a part", "of the sum"])
@pytest.mark.parametrize("parties", [(0,), (0, 1)])
def test_an_older_answer_takes_the_place_of_the_next(
    tmp_path: Path, what: str, parties: tuple[int, ...]
) -> None:
    """Answers of the same holder's last evaluation: a part's, or the sum of its own parts."""

    async def work(it: Stolen) -> None:
        kept: dict[int, list[bytes]] = {0: [], 1: []}

        def note(party: int, message: Message) -> list[Message]:
            kept[party].append(bytes(message.payload)[16:])
            return [message]

        it.hands.from_party = _results(note)
        right(await evaluate(it, in_flight=1))
        place = 1 if what == "of a part" else PARTS
        seen = {0: 0, 1: 0}

        def exchange(party: int, message: Message) -> list[Message]:
            seen[party] += 1
            if seen[party] - 1 == place and party in parties:
                return [_with(message, kept[party][place])]
            return [message]

        it.hands.from_party = _results(exchange)
        refused(await evaluate(it, in_flight=1), IntegrityError)
        await all_is_well(it)

    attack(work, tmp_path)


def test_the_sum_is_given_to_another_holder(tmp_path: Path) -> None:
    """Two evaluations at once, each with its own key: neither opens the other's sum."""

    async def work(it: Stolen) -> None:
        sums: dict[int, list[bytes]] = {0: [], 1: []}
        length = 48 + 32 + 6

        def redirect(party: int, message: Message) -> list[Message]:
            sealed = bytes(message.payload)[16:]
            if len(sealed) != length:
                return [message]
            sums[party].append(sealed)
            return [_with(message, sums[party][0])]

        it.hands.from_party = _results(redirect)
        one = await evaluate(it, 1)
        two = await evaluate(it, 2)
        assert len(sums[0]) == len(sums[1]) == 2
        right(one, 1)
        refused(two, IntegrityError)
        await all_is_well(it, 2)

    attack(work, tmp_path)


@pytest.mark.parametrize("what", ["halves", "bit", "cut", "part for sum"])
def test_the_sum_is_changed_on_its_way(tmp_path: Path, what: str) -> None:
    async def work(it: Stolen) -> None:
        seen: dict[int, list[bytes]] = {0: [], 1: []}

        def change(party: int, message: Message) -> list[Message]:
            sealed = bytes(message.payload)[16:]
            seen[party].append(sealed)
            if len(seen[party]) <= PARTS:
                return [message]
            changed = {
                "halves": seen[0][-1],
                "bit": sealed[:-1] + bytes([sealed[-1] ^ 1]),
                "cut": sealed[:-6],
                "part for sum": seen[party][0],
            }
            return [_with(message, changed[what])]

        it.hands.from_party = _results(change)
        refused(await evaluate(it, in_flight=1), IntegrityError)
        await all_is_well(it)

    attack(work, tmp_path)
