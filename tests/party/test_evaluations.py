"""Private evaluations through three real parties: the count, and that nothing else comes out."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.party.queries import Part
from libmpc.ring import pack_bits, unpack
from libmpc.sealing.errors import SealError
from libmpc.sealing.open import open_sealed
from libmpc.wire.evaluation import Evaluation, evaluation_info
from tests.party.evaluating import (
    correct,
    matrix,
    outcome,
    samples,
    session,
)
from tests.party.holder import CLASSES, Holder
from tests.party.triple import Gateway, Triple


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (20, 20), (50, 8), (300, 130)])
def test_the_count_is_that_of_the_reference(tmp_path: Path, count: int, rows: int) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(count)
        holder = Holder(gateway, x, labels, rows)
        await holder.parts()
        assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body)


def test_all_and_some_cells_of_the_matrix(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(40)
        wanted = matrix(x, labels)
        for chosen in (np.ones((CLASSES, CLASSES), bool), np.eye(CLASSES, dtype=bool)):
            cells = pack_bits(chosen.astype(np.uint64))
            holder = Holder(gateway, x, labels, 16, "confusion", cells)
            await holder.parts()
            assert np.array_equal(await holder.collect(), wanted[chosen])

    session(tmp_path, body)


def test_a_part_is_answered_with_a_digest_only(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        holder = Holder(gateway, *samples(5), 5)
        replies = await holder.part(0)
        assert [len(reply) for reply in replies] == [32, 32]

    session(tmp_path, body)


def test_what_an_evaluator_keeps_is_a_share(tmp_path: Path) -> None:
    """Each alone is uniform in 2^48: that it were a count by chance is impossible in practice."""

    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(6)
        kept: list[list[int]] = []
        for _ in range(2):
            holder = Holder(gateway, x, labels, 3)
            await holder.parts()
            numbers = [holder.answered[index][0] for index in (0, 1)]
            halves = [
                int(parties.nodes[p].desk.evaluations.find(holder.number).total(numbers)[1][0])
                for p in (0, 1)
            ]
            assert sum(halves) % 2**48 == correct(x, labels)
            assert all(len(x) < half < 2**48 - len(x) for half in halves)
            kept.append(halves)
        assert kept[0][0] != kept[1][0]

    session(tmp_path, body)


def test_a_part_that_was_lost_is_sent_again(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(12)
        holder = Holder(gateway, x, labels, 4)
        await holder.part(0)
        query = await holder.seal(1)
        query.envelopes[1] = query.envelopes[1][:-1] + bytes([query.envelopes[1][-1] ^ 1])
        assert set(await outcome(gateway, query)) & {400, 422}
        # Answered, and asked for again, as where the answer was lost: both have it twice.
        first = await holder.seal(1)
        assert await outcome(gateway, first) == [200, 200]
        await holder.part(1)
        await holder.part(2)
        assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body)


def test_replays(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(8)
        holder = Holder(gateway, x, labels, 4)
        first = await holder.seal(0)
        (futures,) = await gateway.send([first])
        holder.note(0, first, await asyncio.gather(*futures))
        assert await outcome(gateway, first) == [409, 409]
        await holder.part(1)
        collect = await holder.seal_collect()
        (futures,) = await gateway.send([collect])
        replies = await asyncio.gather(*futures)
        assert holder.open(collect, replies).tolist() == [correct(x, labels)]
        assert await outcome(gateway, collect) == [409, 409]
        # Asked for again, in a new envelope: the same bytes, not a new sealing.
        (futures,) = await gateway.send([await holder.seal_collect()])
        assert list(await asyncio.gather(*futures)) == list(replies)

    session(tmp_path, body)


def test_nothing_joins_an_evaluation_that_it_does_not_belong_to(tmp_path: Path) -> None:
    """As an evaluator could try together with the gateway: it knows the number and the key."""

    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(12)
        holder = Holder(gateway, x, labels, 4)
        await holder.part(0)
        ours, other = holder.evaluation, X25519PrivateKey.generate()
        wrong: list[dict[str, Any]] = [
            {"key": other},
            {"evaluation": replace(ours, samples=8)},
            {"evaluation": replace(ours, samples=11)},
            {"evaluation": replace(ours, rows=6), "take": slice(0, 6)},
            {"output": "confusion", "evaluation": replace(ours, cells=b"\xff" * 13)},
            {"take": slice(4, 7)},  # fewer rows
            {"take": slice(4, 9)},
        ]
        for change in wrong:
            assert await outcome(gateway, await holder.seal(1, **change)) == [422, 422], change
        await holder.part(1)
        await holder.part(2)
        for change in (wrong[0], wrong[1]):
            numbers = [holder.answered[i][0] for i in range(2 if "evaluation" in change else 3)]
            query = await holder.seal_collect(numbers, **change)
            assert await outcome(gateway, query) == [422, 422]
        assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body)


def test_a_part_of_another_evaluation_is_not_counted(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(8)
        one, other = (Holder(gateway, x, labels, 4) for _ in range(2))
        await one.parts()
        await other.parts()
        mixed = [one.answered[0][0], other.answered[1][0]]
        assert await outcome(gateway, await one.seal_collect(mixed)) == [409, 409]
        # Nor twice, nor in another order, nor with one that was never sent.
        numbers = [one.answered[index][0] for index in (0, 1)]
        for wrong in (numbers[:1] * 2, numbers[::-1], [numbers[0], secrets.token_bytes(16)]):
            assert await outcome(gateway, await one.seal_collect(wrong)) == [409, 409]
        for holder in (one, other):
            assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body)


def test_nothing_leaves_before_the_last_part(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(12)
        holder = Holder(gateway, x, labels, 4)
        await holder.part(0)
        await holder.part(2)
        early = [holder.answered[0][0], secrets.token_bytes(16), holder.answered[2][0]]
        assert await outcome(gateway, await holder.seal_collect(early)) == [409, 409]
        await holder.part(1)
        assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body)


def test_a_list_that_is_shorter_than_sealed(tmp_path: Path) -> None:
    """Envelopes that no honest client can encode, made by hand."""

    async def body(parties: Triple, gateway: Gateway) -> None:
        holder = Holder(gateway, *samples(8), 4)
        await holder.parts()
        one = await holder.seal_collect([holder.answered[0][0]], evaluation=_loose(holder))
        assert await outcome(gateway, one) == [422, 422]

    session(tmp_path, body)


class _Loose(Evaluation):
    """Says what its list should be, and is encoded with another."""

    parts = 1  # type: ignore[assignment]

    def _check(self, index: int) -> None:
        pass


def _loose(holder: Holder) -> Evaluation:
    true = holder.evaluation
    return _Loose(true.number, true.samples, true.rows, true.cells)


def test_the_two_halves_of_a_part_belong_together(tmp_path: Path) -> None:
    """A gateway that gives each evaluator another sealing of a part gets neither computed."""

    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(8)
        holder = Holder(gateway, x, labels, 4)
        await holder.part(0)
        one, other = await holder.seal(1), await holder.seal(1)
        mixed = replace(one, envelopes=[one.envelopes[0], other.envelopes[1]])
        assert 200 not in await outcome(gateway, mixed)
        await holder.part(1)
        assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body)


def test_only_the_data_holder_can_open_the_sum(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        holder = Holder(gateway, *samples(4), 4)
        await holder.parts()
        query = await holder.seal_collect()
        (futures,) = await gateway.send([query])
        first, second = await asyncio.gather(*futures)
        info = [
            evaluation_info(parties.deployment.id, query.header.model, p, holder.number)
            for p in (0, 1)
        ]
        assert len(open_sealed(holder.key, info[0], first)) == 38
        for key, party, reply in (
            (X25519PrivateKey.generate(), 0, first),
            (holder.key, 1, first),
            (holder.key, 1, second[:-1] + bytes([second[-1] ^ 1])),
        ):
            with pytest.raises(SealError):
                open_sealed(key, info[party], reply)
        assert unpack(open_sealed(holder.key, info[0], first)[32:], 1)[0] > 4

    session(tmp_path, body)


def test_a_part_is_complete_when_every_row_was_taken_once() -> None:
    loop = asyncio.new_event_loop()
    entry: Any = SimpleNamespace()
    part = Part(
        number="00" * 16,
        entry=entry,
        reply_key=bytes(32),
        done=loop.create_future(),
        x=np.zeros((4, 1), np.uint64),
        tag=bytes(16),
        evaluation=Evaluation(bytes(16), 4, 4),
        index=0,
    )
    loop.close()
    y = np.full((2, 1), 2**48 - 1, np.uint64)
    part.keep(0, 2, y, bytes(32))
    assert not part.complete
    part.keep(1, 3, y, bytes(32))
    assert not part.complete
    part = replace(part, digests={})
    part.keep(0, 2, y, bytes(32))
    part.keep(2, 4, y, bytes(32))
    assert part.complete
