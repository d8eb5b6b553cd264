"""A party's folder as it was some time ago: nothing is used twice, and no request is given away."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.link import Link
from libmpc.party import keys, sync
from libmpc.party.messages import Kind
from libmpc.wire.context import context
from tests.party.test_freshness import Recorder
from tests.party.test_queries import PLAN, WEIGHTS, inputs, statuses
from tests.party.triple import Gateway, Refused, Triple, expected, triple, until


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(keys, "Stream", recorder.make)
    return recorder


async def _ask(gateway: Gateway, times: int) -> None:
    x = inputs()
    for _ in range(times):
        assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))


async def _counted(parties: Triple, index: int, model: str, served: int) -> None:
    catalog = parties.nodes[index].catalog
    await until(lambda: catalog.entries[model].record.served == served)


async def _restore(parties: Triple, backup: Path, *indices: int) -> Gateway:
    """Stop parties, put their folders back, keys and all, and start them again."""
    await parties.stop(*indices)
    for index in indices:
        home = parties.directory / f"party{index}"
        shutil.rmtree(home)
        shutil.copytree(backup / home.name, home)
    parties.start(*indices)
    await parties.ready()
    return await parties.gateway()


async def _back_up(parties: Triple, backup: Path, *indices: int) -> Gateway:
    await parties.stop(*indices)
    for index in indices:
        shutil.copytree(parties.directory / f"party{index}", backup / f"party{index}")
    parties.start(*indices)
    await parties.ready()
    return await parties.gateway()


def _spend_and_restore(tmp_path: Path, indices: tuple[int, ...]) -> Counter[tuple[bytes, str, int]]:
    """Queries between two restores of the same backup; bundles by epoch, model and number."""
    bundles: Counter[tuple[bytes, str, int]] = Counter()

    async def main() -> None:
        async with triple(tmp_path / "run") as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            gateway = await _back_up(parties, tmp_path / "backup", *indices)
            epochs, replay = set(), []
            for _ in range(2):
                epochs.add(parties.nodes[0].peers.epoch)
                _watch(parties, bundles, model)
                await _ask(gateway, 4)
                replay.append(await gateway.seal_query(inputs()))
                (answer,) = await gateway.send([replay[-1]])
                assert await statuses(answer) == [200, 200]
                gateway = await _restore(parties, tmp_path / "backup", *indices)
            assert len(epochs) == 2
            _watch(parties, bundles, model)
            await _ask(gateway, 4)
            for query in replay:
                (answer,) = await gateway.send([query])
                found = await statuses(answer)
                # The restored evaluator has other envelope keys, and one that went on knows the
                # number: neither answers. A restored dealer never had anything to do with it.
                assert found == [409, 409] or (409 in found and 200 not in found)

    asyncio.run(main())
    return bundles


@pytest.mark.parametrize("indices", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_restored_party_makes_no_key_stream_again(
    tmp_path: Path, recorder: Recorder, indices: tuple[int, ...]
) -> None:
    """Same disk, same bundle numbers, same queries: other keys, and old envelopes do not open."""
    bundles = _spend_and_restore(tmp_path, indices)
    assert max(recorder.streams.values()) == 2  # one at each of the two that share it
    assert max(recorder.draws.values()) == 2
    assert len(bundles) >= 12
    assert max(bundles.values()) == 1
    numbers = Counter(number for _, _, number in bundles)
    assert max(numbers.values()) > 1  # the numbers do come again, in other epochs


def test_secrets_that_were_stored_would_make_key_streams_again(
    tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the test above would find: secrets of a pair of parties instead of a handshake."""

    def of_pair(link: Link) -> bytes:
        return bytes([1 << link.peer | 1 << link._local]) * 32

    monkeypatch.setattr(Link, "stream_secret", property(of_pair))
    monkeypatch.setattr(Link, "rerandomise_secret", property(of_pair))
    monkeypatch.setattr(keys, "context", lambda label, epoch, *rest: context(label, *rest))
    _spend_and_restore(tmp_path, (0, 1, 2))
    assert max(recorder.streams.values()) > 2


def _watch(parties: Triple, bundles: Counter[tuple[bytes, str, int]], model: str) -> None:
    """Note every bundle that party 0 spends in this epoch."""
    leader: Any = parties.nodes[0].role.now
    epoch = parties.nodes[0].peers.epoch
    assert epoch is not None
    open_run = leader._open_run

    def opened(header: Any) -> Any:
        bundles[epoch, model, header.bundle] += 1
        return open_run(header)

    leader._open_run = opened


def test_a_restored_evaluator_hears_how_far_the_count_was(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path / "run") as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS, num_requests=6)
            gateway = await _back_up(parties, tmp_path / "backup", 1)
            await _ask(gateway, 4)
            gateway = await _restore(parties, tmp_path / "backup", 1)
            catalog = parties.nodes[1].catalog
            await until(lambda: catalog.entries[model].record.served == 4)
            await _ask(gateway, 2)
            with pytest.raises(Refused, match="429"):
                await gateway.query(inputs())
            # It is durable: the party starts again without anybody to ask.
            await parties.stop()
            parties.start(1)
            assert parties.nodes[1].catalog.entries[model].record.served == 6

    asyncio.run(main())


def test_a_second_greeting_does_not_hide_how_far_the_count_was(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            model = await (await parties.gateway()).push(PLAN, WEIGHTS, num_requests=6)
            report = sync.CatalogReport.parse(sync.report(parties.nodes[0].catalog, 1))
            (listed,) = report.models
            told = report.model_copy(update={"models": (listed.model_copy(update={"served": 4}),)})
            for first in (True, False):  # in one turn of the loop
                parties.nodes[1]._greetings.hear(0, told.encode(), first)
            await _counted(parties, 1, model, 4)

    asyncio.run(main())


def test_two_restored_evaluators_hear_it_from_the_dealer(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path / "run") as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS, num_requests=6)
            gateway = await _back_up(parties, tmp_path / "backup", 0, 1)
            await _ask(gateway, 5)
            for index in (0, 1):
                parties.nodes[index]._greetings.tell_counts()  # as every 20 seconds
            dealer = parties.nodes[2].catalog
            await until(lambda: dealer.entries[model].record.served == 5)
            gateway = await _restore(parties, tmp_path / "backup", 0, 1)
            for index in (0, 1):
                await _counted(parties, index, model, 5)
            await _ask(gateway, 1)
            with pytest.raises(Refused, match="429"):
                await gateway.query(inputs())

    asyncio.run(main())


def test_a_count_of_before_the_last_command_changes_nothing(tmp_path: Path) -> None:
    """Nor does a lower one, nor one for a model without a limit; a lie ends at the limit."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS, num_requests=6)
            await _ask(gateway, 2)
            catalog = parties.nodes[0].catalog

            def served() -> int:
                return catalog.entries[model].record.served

            catalog.counted_by_peer(model, b"another command", 5)
            catalog.counted_by_peer(model, None, 1)
            assert served() == 2
            catalog.counted_by_peer(model, None, 1 << 60)
            assert served() == 6
            await gateway.command(model, "serve", 3)
            assert served() == 0
            await gateway.command(model, "serve")
            catalog.counted_by_peer(model, catalog.entries[model].record.command, 7)
            assert served() == 0
            old = sync.CatalogReport.parse(sync.report(catalog, 0))
            assert b"served" not in sync.report(catalog, 0)
            assert old.models[0].model == model

    asyncio.run(main())


def test_a_deleted_model_does_not_come_back_with_a_backup(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path / "run") as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            gateway = await _back_up(parties, tmp_path / "backup", 1)
            command = gateway.make_command(model, "delete").encode()
            for party in range(3):
                await gateway.ask(party, Kind.COMMAND, command)
            await _restore(parties, tmp_path / "backup", 1)
            catalog = parties.nodes[1].catalog
            await until(lambda: model not in catalog.entries)
            shares = tmp_path / "run" / "party1" / "data" / "shares"
            await until(lambda: not list(shares.iterdir()))

    asyncio.run(main())
