"""Random audits: an honest dealer passes; one that cheats in a single bit is caught."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.clock import SystemClock
from libmpc.party import audits, dealer, keys
from libmpc.party.alarm import Alarm
from libmpc.party.messages import Coin, Kind, Toss
from libmpc.party.node_settings import NodeSettings
from libmpc.party.settings import RoleSettings
from libmpc.prg import Stream
from libmpc.wire.errors import WireError
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import FAST, Refused, expected, triple, until

HALF = NodeSettings(link=FAST, role=RoleSettings(pool={1: 4, 8: 2, 32: 1, 128: 1}, audit=0.5))


def totals(node: Any) -> tuple[int, int]:
    counts = node.meters.keys.values()
    return sum(c.audited for c in counts), sum(c.audits_failed for c in counts)


def test_audited_bundles_are_never_used_and_answers_stay_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: Counter[tuple[str, bytes, int, int]] = Counter()
    shown, run = set[int](), set[int]()

    async def main() -> None:
        async with triple(tmp_path, settings=HALF) as parties:
            gateway = await parties.gateway()
            leader: Any = parties.nodes[0].role.now
            begin, taken = leader._audits.begin, leader.pool._remove

            def began(number: int, header: Any) -> None:
                shown.add(number)
                begin(number, header)

            def removed(number: int) -> Any:
                run.add(number)
                return taken(number)

            monkeypatch.setattr(leader._audits, "begin", began)
            monkeypatch.setattr(leader.pool, "_remove", removed)
            await gateway.push(PLAN, WEIGHTS)
            for batch in (1, 8, 3, 1, 1, 1, 1, 1, 1, 1):
                x = inputs(batch)
                assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))
            await until(lambda: totals(parties.nodes[0])[0] >= 5)
            await until(lambda: totals(parties.nodes[1])[0] >= 5)
            assert totals(parties.nodes[0])[1] == totals(parties.nodes[1])[1] == 0
            assert not any(node.alarm for node in parties.nodes.values())

    make = keys.Stream

    def watched(key: bytes) -> Stream:
        name = hashlib.sha256(key).digest()
        return make(
            key, lambda _, layer, purpose, *rest: drawn.update([("", name, layer, purpose)])
        )

    monkeypatch.setattr(keys, "Stream", watched)
    asyncio.run(main())
    assert len(shown) >= 5
    assert not shown & run
    # Each word by the two who share it, once: an audited bundle's, too.
    assert max(drawn.values()) == 2


def wrong_bit(at: Callable[[int], int]) -> Callable[..., Iterator[Any]]:
    """A dealer that sends one wrong bit in a bundle."""
    deal = dealer.deal

    def cheats(plan: Any, weights: Any, batch: int, s0: Any, s1: Any, out: Any = None) -> Any:
        yield from deal(plan, weights, batch, s0, s1, out)
        out[at(len(out))] ^= 1

    return cheats


def constant_randomness(plan: Any, weights: Any, batch: int, s0: Any, s1: Any, out: Any) -> Any:
    """A dealer that spares itself the streams."""
    fixed = [Stream(bytes(16)), Stream(bytes(16))]
    return original(plan, weights, batch, *fixed, out)


def nothing(plan: Any, weights: Any, batch: int, s0: Any, s1: Any, out: Any) -> Any:
    """A dealer that deals nothing, and sends what was in the buffer."""
    return iter(())


original = dealer.deal
CHEATS = {
    "a wrong bit of a table": wrong_bit(lambda size: 3),
    "a wrong bit of an arithmetic share": wrong_bit(lambda size: 82 * 7 - 2),
    "a wrong bit of the output": wrong_bit(lambda size: size - 1),
    "constant randomness": constant_randomness,
    "nothing": nothing,
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_dealer_that_cheats_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cheat: str
) -> None:
    monkeypatch.setattr(dealer, "deal", CHEATS[cheat])

    async def main() -> None:
        async with triple(tmp_path, settings=HALF) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            evaluators = [parties.nodes[p] for p in (0, 1)]
            for _ in range(200):
                if all(node.alarm for node in evaluators):
                    break
                try:
                    await gateway.query(inputs())
                except Refused as refused:
                    assert refused.status == 503
            await until(lambda: all(node.alarm for node in evaluators))
            assert all(totals(node)[1] >= 1 for node in evaluators)
            await parties.ready()
            with pytest.raises(Refused, match="503.*an audit of party 2 has failed"):
                await gateway.query(inputs())
            for party in (0, 1):
                status = await gateway.status(party)
                assert not status.ready
                assert "an audit of party 2 has failed" in status.reason

    asyncio.run(main())


def test_the_record_outlives_the_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "audit-failed.json"
    alarm = Alarm(path, SystemClock())
    assert not alarm
    alarm.raise_("ab" * 32, "bundle 7: wrong")
    assert path.stat().st_mode & 0o777 == 0o600
    again = Alarm(path, SystemClock())
    assert again
    assert "bundle 7: wrong" in caplog.text
    path.unlink()
    assert not Alarm(path, SystemClock())


def coins(rate: float = 0.25) -> tuple[audits.LeadAudits, audits.FollowAudits, list[Any]]:
    told: list[Any] = []

    def tell(kind: Kind, bundle: int, body: bytes) -> None:
        told.append((kind, bundle, body))

    epoch = bytes(32)
    return audits.LeadAudits(epoch, rate, tell), audits.FollowAudits(epoch, tell), told


def header(first: int, count: int) -> Any:
    from libmpc.party.messages import BundleHeader

    return BundleHeader(
        bundle=first,
        count=count,
        model="ab" * 32,
        plan="ab" * 32,
        sharing="ab" * 32,
        rung=1,
        streamed=False,
        vouched=("cd" * 32,) * count,
    )


def test_both_choose_the_same_bundles_at_the_rate_and_only_after_they_came() -> None:
    lead, follow, told = coins()
    chosen = 0
    for first in range(1, 20_000, 50):
        lead.toss(range(first, first + 50))
        follow.toss(Toss.parse(told.pop()[2]))
        assert not told  # party 1 names nothing before the bundles are there
        follow.arrived(header(first, 50), [{}] * 50)
        lead.coin(first, Coin.parse(told.pop()[2]))
        lead.dealt(header(first, 50))
        _, _, named = follow.coin(first, Coin.parse(told.pop()[2]))
        assert (header(first, 50), named) == lead.ready(first)
        chosen += len(named)
    assert abs(chosen - 5000) < 7 * (20_000 * 0.25 * 0.75) ** 0.5


def test_party_0_is_bound_to_its_half() -> None:
    lead, follow, told = coins()
    lead.toss(range(1, 3))
    follow.toss(Toss.parse(told.pop()[2]))
    follow.arrived(header(1, 2), [{}] * 2)
    with pytest.raises(WireError, match="committed"):
        follow.coin(1, Coin(value="00" * 32))
    with pytest.raises(WireError, match="not audited"):
        lead.show(1)  # nothing is shown of what no coin has named
