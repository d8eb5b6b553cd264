"""A stolen gateway and the two halves of queries: mixed, replayed, redirected, cut, invented."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from libmpc.errors import IntegrityError, UnavailableError
from libmpc.link import Message
from libmpc.party.messages import Batch, BatchEntry, Kind
from libmpc.wire.headers import QueryHeader
from tests.malicious.stolen import (
    BATCH,
    OTHER_PLAN,
    OTHER_WEIGHTS,
    Stolen,
    attack,
    close_batch,
    inputs,
    open_batch,
    refused,
    right,
    right_or_refused,
)
from tests.party.triple import Refused, SealedQuery

Answers = list[tuple[int, bytes]]


async def outcomes(own: Stolen, queries: list[SealedQuery]) -> list[list[int]]:
    """What each evaluator says to each query that the attacker sends himself."""
    sent = await own.own.send(queries)
    found = []
    for futures in sent:
        answers = await asyncio.gather(*futures, return_exceptions=True)
        found.append([a.status if isinstance(a, Refused) else 200 for a in answers])
    return found


def test_halves_of_two_clients_queries_are_mixed(tmp_path: Path) -> None:
    """Party 0 gets both queries as they are, party 1 each under the other's header."""

    async def work(it: Stolen) -> None:
        def mix(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH or party == 0:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            return [(kind, close_batch(batch, envelopes[::-1]))]

        it.hands.to_party = mix
        it.gateway.router.first.batcher.settings = replace(
            it.gateway.router.first.batcher.settings, delay=0.5
        )
        async with it.client() as one, it.client() as two:
            await asyncio.gather(one.describe("mnist"), two.describe("mnist"))
            answers = await asyncio.gather(
                *(c.query("mnist", inputs(1, s)) for c, s in ((one, 1), (two, 2))),
                return_exceptions=True,
            )
        for answer, seed in zip(answers, (1, 2), strict=True):
            # A batch of one each, if they missed each other, is nothing to mix.
            if isinstance(answer, BaseException):
                refused(answer, 422, 503)
            else:
                right(answer, inputs(1, seed))
        await it.still_right()

    attack(work, tmp_path)


def test_halves_of_two_sealings_of_one_number_are_mixed(tmp_path: Path) -> None:
    """Both halves open, since the number and all else agree; only the secret tags tell."""

    async def work(it: Stolen) -> None:
        one = await it.own.seal_query(inputs(1, 1))
        two = await it.own.seal_query(inputs(1, 2), header=one.header)
        mixed = replace(one, envelopes=[one.envelopes[0], two.envelopes[1]])
        (said,) = await outcomes(it, [mixed])
        assert 200 not in said
        assert await it.served() == [0, 0]
        await it.still_right()

    attack(work, tmp_path)


@pytest.mark.parametrize("times", [2, 5])
def test_a_query_is_sent_again_in_the_same_moment(tmp_path: Path, times: int) -> None:
    async def work(it: Stolen) -> None:
        counts: list[int] = []

        def repeat(party: int, kind: int, payload: bytes) -> Answers:
            return [(kind, payload)] * (times if kind == BATCH else 1)

        def count(party: int, message: Message) -> list[Message]:
            if message.kind == Kind.RESULT:
                counts.append(message.step)
            return [message]

        it.hands.to_party, it.hands.from_party = repeat, count
        right_or_refused(await it.query(inputs()), inputs())
        await it.still_right()
        assert counts.count(200) <= 2
        assert counts.count(409) >= 2 * (times - 1) - 1
        assert await it.served() in ([1, 1], [2, 2])

    attack(work, tmp_path)


def test_a_query_is_sent_again_after_its_answer(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        query = await it.own.seal_query(inputs())
        assert await outcomes(it, [query]) == [[200, 200]]
        for _ in range(3):
            assert await outcomes(it, [query]) == [[409, 409]]
        assert await it.served() == [1, 1]

    attack(work, tmp_path)


def test_a_query_occurs_twice_in_one_batch(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        def double(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            batch = batch.model_copy(update={"entries": batch.entries * 2})
            return [(kind, close_batch(batch, envelopes * 2))]

        it.hands.to_party = double
        right_or_refused(await it.query(), inputs())
        await it.still_right()
        assert max(await it.served()) <= 2

    attack(work, tmp_path)


def test_a_query_is_replayed_at_one_party_with_anothers_other_half(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        old = await it.own.seal_query(inputs(1, 1))
        assert await outcomes(it, [old]) == [[200, 200]]
        new = await it.own.seal_query(inputs(1, 2))
        for header in (old.header, new.header):
            mixed = replace(new, header=header, envelopes=[old.envelopes[0], new.envelopes[1]])
            (said,) = await outcomes(it, [mixed])
            assert 200 not in said
        await it.still_right()

    attack(work, tmp_path)


def test_a_query_from_before_a_restart_is_replayed(tmp_path: Path) -> None:
    """The table of numbers is gone with the process; so is the key that opened the envelope."""

    async def work(it: Stolen) -> None:
        query = await it.own.seal_query(inputs())
        assert await outcomes(it, [query]) == [[200, 200]]
        for party in (0, 1):
            await it.parties.stop(party)
            it.parties.start(party)
        await it.parties.ready()
        it.own = await it.parties.gateway()
        assert await outcomes(it, [query]) == [[409, 409]]
        assert max(await it.served()) <= 1

    attack(work, tmp_path)


def test_halves_go_to_the_wrong_parties(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        kept: dict[int, bytes] = {}

        def swap(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            # Party 1 gets what party 0 should have had, party 0 what it had before or nothing.
            kept[party] = envelopes[0]
            return [(kind, close_batch(batch, [kept[0]]))]

        it.hands.to_party = swap
        refused(await it.query(), 422, 503)
        await it.still_right()

    attack(work, tmp_path)


def test_a_query_goes_to_party_2(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        query = await it.own.seal_query(inputs())
        entry = BatchEntry(header=query.header, size=len(query.envelopes[0]))
        batch = Batch(model=it.model, timeout_ms=1000, entries=(entry,))
        request = close_batch(batch, [query.envelopes[0]])
        reply = it.own._expect(2, 10_000, query.header.number)
        await it.own.links[2].send(BATCH, 10_000, 0, request)
        with pytest.raises(Refused, match="503"):
            await reply
        await it.still_right()

    attack(work, tmp_path)


def test_a_query_goes_to_another_model_of_the_same_shape(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        other = await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, "other")

        def redirect(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            entries = tuple(
                e.model_copy(update={"header": e.header.model_copy(update={"model": other})})
                for e in batch.entries
            )
            batch = batch.model_copy(update={"entries": entries, "model": other})
            return [(kind, close_batch(batch, envelopes))]

        it.hands.to_party = redirect
        refused(await it.query(), 422, 503)
        await it.still_right()

    attack(work, tmp_path)


def test_a_batch_names_another_model_than_its_queries(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        other = await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, "other")

        def redirect(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            return [(kind, close_batch(batch, envelopes, model=other))]

        it.hands.to_party = redirect
        refused(await it.query(), 409)
        await it.still_right()

    attack(work, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (2, 12)},
        {"shape": (1, 3, 4)},
        {"shape": (12, 1)},
        {"shape": (16384, 12)},
        {"number": "ab" * 16},
        {"expires": 1},
        {"expires": -1},
        {"expires": 10**9},
    ],
    ids=str,
)
def test_a_header_is_changed_on_its_way(tmp_path: Path, changes: dict[str, object]) -> None:
    """Shape, number or expiry: lies about any of them and the envelope does not open."""

    async def work(it: Stolen) -> None:
        def lie(party: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH:
                return [(kind, payload)]
            batch, envelopes = open_batch(payload)
            header = batch.entries[0].header
            update = dict(changes)
            if "expires" in update:
                update["expires_ms"] = header.expires_ms + int(str(update.pop("expires")))
            entry = BatchEntry(header=header.model_copy(update=update), size=len(envelopes[0]))
            return [(kind, close_batch(batch.model_copy(update={"entries": (entry,)}), envelopes))]

        it.hands.to_party = lie
        # With another number, nobody answers to the one that the client has.
        refused(await it.query(timeout=2), 409, 422, UnavailableError)
        assert await it.served() == [0, 0]
        await it.still_right()

    attack(work, tmp_path)


def test_a_query_is_held_back_until_it_has_expired(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        fresh = await it.own.seal_query(inputs())
        header = fresh.header.model_copy(
            update={"expires_ms": int(it.parties.clock.now() * 1000) + 300}
        )
        query = await it.own.seal_query(inputs(), header=QueryHeader.model_validate(header))
        while it.parties.clock.now() * 1000 <= header.expires_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert await outcomes(it, [query]) == [[409, 409]]

    attack(work, tmp_path)


@pytest.mark.parametrize("cut", [1, "all"])
@pytest.mark.parametrize("party", [0, 1])
def test_an_envelope_is_cut_off(tmp_path: Path, cut: int | str, party: int) -> None:
    async def work(it: Stolen) -> None:
        def truncate(to: int, kind: int, payload: bytes) -> Answers:
            if kind != BATCH or to != party:
                return [(kind, payload)]
            batch, (envelope,) = open_batch(payload)
            envelope = b"" if isinstance(cut, str) else envelope[:-cut]
            return [(kind, close_batch(batch, [envelope]))]

        it.hands.to_party = truncate
        refused(await it.query(), 422, 503)
        await it.still_right()

    attack(work, tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 4, 40, 200])
def test_a_batch_is_cut_off(tmp_path: Path, keep: int) -> None:
    async def work(it: Stolen) -> None:
        it.hands.to_party = lambda party, kind, payload: [
            (kind, payload[:keep] if kind == BATCH else payload)
        ]
        refused(await it.query())
        await it.still_right()

    attack(work, tmp_path)


def test_an_envelope_is_invented(tmp_path: Path) -> None:
    """The attacker can seal, as anybody can, a half of his own under a client's header."""

    async def work(it: Stolen) -> None:
        true = await it.own.seal_query(inputs(1, 1))
        false = await it.own.seal_query(inputs(1, 2), header=true.header)
        for party in (0, 1):
            envelopes = list(true.envelopes)
            envelopes[party] = false.envelopes[party]
            header = true.header
            (said,) = await outcomes(it, [replace(true, envelopes=envelopes, header=header)])
            assert 200 not in said
        assert await it.served() == [0, 0]
        await it.still_right()

    attack(work, tmp_path)


def test_the_evaluators_get_the_batch_in_different_orders(tmp_path: Path) -> None:
    """Party 0 chooses the order of rows; that party 1 hears of them in another changes nothing."""

    async def work(it: Stolen) -> None:
        queries = [await it.own.seal_query(inputs(2, seed)) for seed in range(4)]
        reversed_once = it.own.links[1]
        send = reversed_once.send

        async def other_order(kind: int, bundle: int, step: int, *buffers: object) -> None:
            batch, envelopes = open_batch(b"".join(bytes(b) for b in buffers))  # type: ignore[call-overload]
            batch = batch.model_copy(update={"entries": batch.entries[::-1]})
            await send(kind, bundle, step, close_batch(batch, envelopes[::-1]))

        reversed_once.send = other_order  # type: ignore[method-assign, assignment]
        for seed, (query, futures) in enumerate(
            zip(queries, await it.own.send(queries), strict=True)
        ):
            replies = await asyncio.gather(*futures)
            right(query.open(replies, it.parties.deployment), inputs(2, seed))

    attack(work, tmp_path)


def test_one_evaluator_alone_gets_a_query(tmp_path: Path) -> None:
    """It takes nothing from the model's limit, and no bundle is spent twice."""

    async def work(it: Stolen) -> None:
        for only in (0, 1):

            def drop(party: int, kind: int, payload: bytes, only: int = only) -> Answers:
                return [] if kind == BATCH and party != only else [(kind, payload)]

            it.hands.to_party = drop
            for _ in range(2):
                refused(await it.query(timeout=3), UnavailableError)
        assert await it.served() == [0, 0]
        for seed in range(1):
            it.hands.to_party = None
            right(await it.query(inputs(1, seed)), inputs(1, seed))
        refused(await it.query())  # the limit is as its owner said
        assert await it.served() == [1, 1]

    attack(work, tmp_path, num_requests=1)


# ---- what comes back


def _change_results(change: object) -> object:
    def changed(party: int, message: Message) -> list[Message]:
        if message.kind != Kind.RESULT or message.step != 200:
            return [message]
        return change(party, message)  # type: ignore[operator, no-any-return]

    return changed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda reply: reply[:-1], id="a byte less"),
        pytest.param(lambda reply: reply[:48], id="an empty envelope"),
        pytest.param(lambda reply: b"", id="nothing"),
        pytest.param(lambda reply: reply + b"\0", id="a byte more"),
        pytest.param(lambda reply: reply[:-1] + bytes([reply[-1] ^ 1]), id="a bit flipped"),
        pytest.param(lambda reply: bytes(len(reply)), id="zeros"),
        pytest.param(lambda reply: secrets.token_bytes(len(reply)), id="random bytes"),
    ],
)
@pytest.mark.parametrize("party", [0, 1])
def test_a_reply_is_cut_off_changed_or_invented(tmp_path: Path, change: object, party: int) -> None:
    async def work(it: Stolen) -> None:
        def one(of: int, message: Message) -> list[Message]:
            payload = bytes(message.payload)
            if of == party:
                payload = payload[:16] + change(payload[16:])  # type: ignore[operator]
            return [replace(message, payload=payload)]

        it.hands.from_party = _change_results(one)  # type: ignore[assignment]
        refused(await it.query(), IntegrityError)

    attack(work, tmp_path)


def test_an_answer_goes_to_another_client(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        async with it.client() as one, it.client() as two:
            await asyncio.gather(one.describe("mnist"), two.describe("mnist"))
            waiting: dict[int, list[Message]] = {0: [], 1: []}

            def exchange(party: int, message: Message) -> list[Message]:
                waiting[party].append(message)
                if len(waiting[party]) < 2:
                    return []
                first, second = waiting[party]
                a, b = bytes(first.payload), bytes(second.payload)
                return [
                    replace(first, payload=a[:16] + b[16:]),
                    replace(second, payload=b[:16] + a[16:]),
                ]

            it.hands.from_party = _change_results(exchange)  # type: ignore[assignment]
            answers = await asyncio.gather(
                one.query("mnist", inputs(1, 1)),
                two.query("mnist", inputs(1, 2)),
                return_exceptions=True,
            )
            assert all(isinstance(answer, IntegrityError) for answer in answers)
        await it.still_right()

    attack(work, tmp_path)


def test_both_replies_come_from_one_party(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        from_zero: list[bytes] = []

        def copy(party: int, message: Message) -> list[Message]:
            payload = bytes(message.payload)
            if party == 0:
                from_zero.append(payload[16:])
                return [message]
            if not from_zero:  # party 1 was first: hold to its own
                return [message]
            return [replace(message, payload=payload[:16] + from_zero[0])]

        it.hands.from_party = _change_results(copy)  # type: ignore[assignment]
        right_or_refused(await it.query(), inputs())
        await it.still_right()

    attack(work, tmp_path)


def test_yesterdays_answer_is_given_again(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        old: dict[int, bytes] = {}

        def stale(party: int, message: Message) -> list[Message]:
            payload = bytes(message.payload)
            old.setdefault(party, payload[16:])
            return [replace(message, payload=payload[:16] + old[party])]

        it.hands.from_party = _change_results(stale)  # type: ignore[assignment]
        right(await it.query(inputs(1, 1)), inputs(1, 1))
        refused(await it.query(inputs(1, 2)), IntegrityError)
        refused(await it.query(inputs(1, 1)), IntegrityError)
        await it.still_right()

    attack(work, tmp_path)


def test_one_reply_of_this_run_and_one_of_another(tmp_path: Path) -> None:
    """Two sealings of one number with one reply key: both open, and the run digests tell."""

    async def work(it: Stolen) -> None:
        query = await it.own.seal_query(inputs(1, 1))
        (futures,) = await it.own.send([query])
        first = await asyncio.gather(*futures)
        again = await it.own.seal_query(inputs(1, 2))
        (futures,) = await it.own.send([again])
        second = await asyncio.gather(*futures)
        with pytest.raises(Exception):  # noqa: B017 - its own opening raises what it likes
            again.open([first[0], second[1]], it.parties.deployment)
        assert np.isfinite(query.open(list(first), it.parties.deployment)).all()

    attack(work, tmp_path)


def test_answers_are_reordered_within_a_batch(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        held: dict[int, list[Message]] = {0: [], 1: []}

        def late(party: int, message: Message) -> list[Message]:
            held[party].append(message)
            return held[party][::-1] if len(held[party]) == 2 else []

        async with it.client() as one, it.client() as two:
            await asyncio.gather(one.describe("mnist"), two.describe("mnist"))
            it.hands.from_party = _change_results(late)  # type: ignore[assignment]
            answers = await asyncio.gather(
                one.query("mnist", inputs(1, 1)), two.query("mnist", inputs(1, 2))
            )
        right(answers[0], inputs(1, 1))
        right(answers[1], inputs(1, 2))
        await it.still_right()

    attack(work, tmp_path)
