"""How long evaluations live, how many may be, and what the owner allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from libmpc.party import evaluations as module
from libmpc.ring import pack_bits
from tests.party.evaluating import (
    LateClock,
    correct,
    outcome,
    samples,
    session,
)
from tests.party.holder import CLASSES, Holder
from tests.party.triple import Gateway, Refused, Triple, until


def test_an_evaluation_expires(tmp_path: Path) -> None:
    clock = LateClock()

    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(12)
        holder, patient = (Holder(gateway, x, labels, 4) for _ in range(2))
        await holder.part(0)
        await patient.part(0)
        clock.late += module.IDLE_SECONDS - 60
        await patient.part(1)
        clock.late += 120
        for query in (await holder.seal(1), await holder.seal_collect([bytes(16)] * 3)):
            (futures,) = await gateway.send([query])
            for future in futures:
                with pytest.raises(Refused, match="409: .*10 minutes.*begin it again"):
                    await future
        assert [len(parties.nodes[p].desk.evaluations) for p in (0, 1)] == [1, 1]
        await patient.part(2)
        assert (await patient.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body, clock)


def test_shares_are_dropped_though_nothing_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.2)

    async def body(parties: Triple, gateway: Gateway) -> None:
        await Holder(gateway, *samples(8), 4).part(0)
        await until(lambda: not any(len(parties.nodes[p].desk.evaluations) for p in (0, 1)))

    session(tmp_path, body)


def test_a_restart_ends_an_evaluation_and_a_new_epoch_does_not(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(8)
        holder = Holder(gateway, x, labels, 4)
        await holder.part(0)
        before = parties.nodes[0].peers.epoch
        await parties.stop(2)
        parties.start(2)
        await until(lambda: parties.nodes[0].peers.epoch not in (None, before))
        await parties.ready()
        await holder.part(1)
        assert (await holder.collect()).tolist() == [correct(x, labels)]
        other = Holder(gateway, x, labels, 4)
        await other.part(0)
        await parties.stop(1)
        parties.start(1)
        await parties.ready()
        other.gateway = again = await parties.gateway()
        found = await outcome(again, await other.seal(1))
        assert found[1] == 409
        assert 200 not in found

    session(tmp_path, body)


@pytest.mark.parametrize("policy", ["count", "count:8", "confusion:8", "label", "scores:4"])
def test_the_owner_s_policy(tmp_path: Path, policy: str) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(8)
        cells = pack_bits(np.ones(CLASSES**2, np.uint64))
        few = Holder(gateway, x[:7], labels[:7], 4)
        whole = Holder(gateway, x, labels, 4, "confusion", cells)
        allowed = policy != "scores:4"
        enough = allowed and ":8" not in policy
        assert await outcome(gateway, await few.seal(0)) == [200 if enough else 422] * 2
        assert (
            await outcome(gateway, await whole.seal(0))
            == [200 if allowed and "count" not in policy else 422] * 2
        )
        if not policy.startswith(("label", "scores")):
            with pytest.raises(Refused, match="422"):
                await gateway.query(x, output="label")
        if allowed:
            holder = Holder(gateway, x, labels, 4)
            await holder.parts()
            assert (await holder.collect()).tolist() == [correct(x, labels)]

    session(tmp_path, body, output=policy)


def test_an_evaluation_is_one_request(tmp_path: Path) -> None:
    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(12)
        holder, late = (Holder(gateway, x, labels, 4) for _ in range(2))
        await holder.parts()
        await late.parts()
        assert (await holder.collect()).tolist() == [correct(x, labels)]
        assert (await gateway.models()).models[0].served == 1
        # Its answer may have been lost: it is there again, and not counted again.
        assert (await holder.collect()).tolist() == [correct(x, labels)]
        assert (await gateway.models()).models[0].served == 1
        assert await outcome(gateway, await late.seal_collect()) == [429, 429]
        assert await outcome(gateway, await Holder(gateway, x, labels, 4).seal(0)) == [429, 429]

    session(tmp_path, body, num_requests=1)


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVALUATIONS", 2)
    monkeypatch.setattr(module, "MAX_KEPT", 80)

    async def body(parties: Triple, gateway: Gateway) -> None:
        x, labels = samples(12)
        holders = [Holder(gateway, x, labels, 4) for _ in range(3)]
        await holders[0].part(0)
        await holders[1].part(0)
        assert await outcome(gateway, await holders[2].seal(0)) == [429, 429]
        await holders[0].part(1)
        assert await outcome(gateway, await holders[0].seal(2)) == [429, 429]

    session(tmp_path, body)
