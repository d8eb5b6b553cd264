"""Models at three parties: pushed in two steps, on the owner's word only, and never half there."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from libmpc.identity.signing import SigningKey
from libmpc.party.messages import Kind
from tests.party.test_queries import PLAN, WEIGHTS, inputs
from tests.party.triple import Gateway, Refused, Triple, expected, triple, until


async def _answers(gateway: Gateway, name: str = "mnist") -> bool:
    x = inputs(2)
    return np.array_equal(await gateway.query(x, name), expected(PLAN, WEIGHTS, x))


async def _names(gateway: Gateway, party: int) -> list[str]:
    return [m.name for m in (await gateway.models(party)).models]


def test_a_push_is_in_force_only_when_all_three_have_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(PLAN, WEIGHTS, keys)
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in (0, 1)]
            with pytest.raises(Refused):  # two receipts and a copy are not three
                await gateway.commit(0, model, [*receipts, receipts[1]])
            assert await _names(gateway, 0) == []
            receipts.append(await gateway.prepare(2, header, envelopes[2]))
            for party in range(3):
                await gateway.commit(party, model, receipts)
                await gateway.commit(party, model, receipts)  # again changes nothing
            assert await _answers(gateway)

    asyncio.run(main())


def test_a_party_that_missed_the_commit_takes_it_over_from_its_peers(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(PLAN, WEIGHTS, keys)
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]
            await parties.stop(1)
            await gateway.commit(0, model, receipts)  # the gateway dies here
            parties.start(1)
            await parties.ready()
            gateway = await parties.gateway()
            await until(lambda: all(model in n.catalog.entries for n in parties.nodes.values()))
            assert await _answers(gateway)

    asyncio.run(main())


def test_a_gateway_that_dies_between_two_commits(tmp_path: Path) -> None:
    """The party that has committed tells the others at once."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(PLAN, WEIGHTS, keys)
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]
            await gateway.commit(2, model, receipts)
            await until(lambda: all(model in n.catalog.entries for n in parties.nodes.values()))
            assert await _answers(gateway)

    asyncio.run(main())


def test_a_party_restored_from_an_old_backup_does_not_keep_a_name_in_use(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            await parties.stop(1)
            shutil.copytree(tmp_path / "party1" / "data", tmp_path / "backup")
            parties.start(1)
            await parties.ready()
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            await parties.stop(1)
            shutil.rmtree(tmp_path / "party1" / "data")
            shutil.copytree(tmp_path / "backup", tmp_path / "party1" / "data")
            parties.start(1)
            await parties.ready()
            gateway = await parties.gateway()
            assert await _names(gateway, 1) == []
            await gateway.command(model, "delete")
            await gateway.push(PLAN, WEIGHTS)
            assert await _answers(gateway)

    asyncio.run(main())


def test_models_and_commands_survive_restarts(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            other = await gateway.push(PLAN, WEIGHTS, "other")
            await gateway.command(other, "stop", name="other")
            await parties.stop()
            parties.start()
            await parties.ready()
            gateway = await parties.gateway()
            assert await _answers(gateway)
            with pytest.raises(Refused, match="503"):
                await gateway.query(inputs(), "other")

    asyncio.run(main())


def test_a_command_that_one_party_missed_reaches_it_from_its_peers(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            stopped = await gateway.push(PLAN, WEIGHTS)
            deleted = await gateway.push(PLAN, WEIGHTS, "other")
            await parties.stop(2)
            for model, action, name in ((stopped, "stop", "mnist"), (deleted, "delete", "other")):
                command = gateway.make_command(model, action, name=name).encode()
                await gateway.ask(0, Kind.COMMAND, command)
            parties.start(2)
            await parties.ready()
            dealer = parties.nodes[2].catalog
            await until(lambda: deleted not in dealer.entries)
            await until(lambda: not dealer.entries[stopped].record.serving)
            assert not list((tmp_path / "party2" / "data" / "shares").glob(f"{deleted}*"))

    asyncio.run(main())


def test_old_words_of_the_owner_are_not_taken_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(PLAN, WEIGHTS, keys)
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]
            for party in range(3):
                await gateway.commit(party, model, receipts)
            serve = gateway.make_command(model, "serve", 1).encode()
            await gateway.ask(0, Kind.COMMAND, serve)
            await gateway.ask(0, Kind.COMMAND, serve)  # a lost answer: the same is fine
            await gateway.command(model, "stop")
            with pytest.raises(Refused, match="409"):
                await gateway.ask(0, Kind.COMMAND, serve)
            await gateway.command(model, "delete")
            with pytest.raises(Refused, match="409"):
                await gateway.prepare(0, header, envelopes[0])
            with pytest.raises(Refused):
                await gateway.commit(0, model, receipts)

    asyncio.run(main())


def test_only_the_owner_replaces(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            first = await gateway.push(PLAN, WEIGHTS)
            with pytest.raises(Refused, match="409: .*in use"):
                await gateway.push(PLAN, WEIGHTS)
            with pytest.raises(Refused, match="409: .*changed"):
                await gateway.push(PLAN, WEIGHTS, replace="ab" * 32)
            second = await gateway.push(PLAN, WEIGHTS, replace=first)
            assert [m.model for m in (await gateway.models(1)).models] == [second]
            stranger = SigningKey.generate()
            parties.owner = stranger
            with pytest.raises(Refused, match="403"):
                await gateway.push(PLAN, WEIGHTS, "theirs")
            with pytest.raises(Refused, match="403"):
                await gateway.command(second, "delete")
            assert await _answers(gateway)

    asyncio.run(main())


def test_a_push_that_does_not_hold_together_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, _ = gateway.make_push(PLAN, WEIGHTS, keys)
            refused = [
                (header, envelopes[1]),  # for another party
                (header, envelopes[0][:-1]),
                (header.model_copy(update={"model": "ab" * 32}), envelopes[0]),
                (header.model_copy(update={"expires_ms": 1}), envelopes[0]),
            ]
            plan = PLAN.to_json().decode()
            for fields in (
                {"share_hashes": ("00" * 32,) * 3},
                {"plan": plan.replace("12", "13")},
                {"plan": plan.replace("{", "{ ", 1)},
                {"plan": "{}"},
                {"deployment": "00" * 16},
                {"issued_ms": 1000, "expires_ms": 2000},
                {"final_activation": "softmax:-2"},  # of an output with one axis
            ):
                made, sealed, _ = gateway.make_push(PLAN, WEIGHTS, keys, **fields)
                refused.append((made, sealed[0]))
            for push_header, envelope in refused:
                with pytest.raises(Refused, match="^(400|409|422)"):
                    await gateway.prepare(0, push_header, envelope)
            assert not parties.nodes[0].catalog.prepared

    asyncio.run(main())


def test_shares_of_one_party_say_nothing(tmp_path: Path) -> None:
    """No stored byte string of a party holds a weight, plain or encoded."""

    async def main() -> Triple:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            assert await _answers(gateway)
            return parties

    asyncio.run(main())
    needles = []
    for matrix, bias in WEIGHTS.values():
        flat = np.concatenate([matrix.ravel(), bias.ravel()])
        needles += [int(v).to_bytes(8, "little")[:6] for v in flat]
    assert len(needles) > 50
    for party in range(3):
        files = [f for f in (tmp_path / f"party{party}" / "data").rglob("*") if f.is_file()]
        assert files
        for file in files:
            content = file.read_bytes()
            # Six bytes hit a random share of this size by chance once in 10^10 runs.
            assert not any(needle in content for needle in needles)


def test_bundles_for_a_model_that_one_evaluator_does_not_hold_yet(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(PLAN, WEIGHTS, keys)
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]
            epoch = parties.nodes[0].peers.epoch
            # Party 1 is slow to hear of the commit from its peers.
            parties.nodes[1].peers._greeted = lambda *_: None
            for party in (0, 2):
                await gateway.commit(party, model, receipts)
            follower = parties.nodes[1].role.now  # type: ignore[union-attr]
            await until(lambda: follower._declined)
            await gateway.commit(1, model, receipts)
            for _ in range(12):  # more than a pool holds
                assert await _answers(gateway)
            assert parties.nodes[0].peers.epoch == epoch

    asyncio.run(main())
