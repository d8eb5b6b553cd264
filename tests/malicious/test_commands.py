"""A stolen gateway and what only owners may do: push, serve, stop, delete, replace, limit."""

from __future__ import annotations

import itertools
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from libmpc.identity.keys import PartyIdentity
from libmpc.identity.signing import SigningKey
from libmpc.party.messages import Kind
from libmpc.wire.command import Command
from libmpc.wire.receipt import Receipt
from libmpc.wire.signed import Signed
from tests.malicious.stolen import (
    OTHER_PLAN,
    OTHER_WEIGHTS,
    PLAN,
    WEIGHTS,
    Stolen,
    attack,
    inputs,
    refused,
    right,
)
from tests.party.triple import Refused, until

ACTIONS = ("serve", "stop", "delete")


async def give(it: Stolen, command: Signed | bytes) -> list[int]:
    """Give all three parties a command; what each says."""
    said = []
    for party in range(3):
        try:
            data = command if isinstance(command, bytes) else command.encode()
            await it.own.ask(party, Kind.COMMAND, data)
            said.append(200)
        except Refused as error:
            said.append(error.status)
    return said


def forged(it: Stolen, key: SigningKey, **changes: object) -> Signed:
    now = int(it.parties.clock.now() * 1000) + 1000
    fields: dict[str, Any] = {
        "deployment": it.parties.deployment.id.hex(),
        "name": "mnist",
        "model": it.model,
        "action": "delete",
        "command_id": secrets.token_hex(16),
        "issued_ms": now,
        "expires_ms": now + 60_000,
        **changes,
    }
    return key.sign_document(Command.model_validate(fields))


async def serving(it: Stolen) -> list[str]:
    """Each party's state of the model."""
    return [
        next(s.state for s in (await it.own.models(party)).models if s.model == it.model)
        for party in range(3)
    ]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_command_without_the_owners_signature(tmp_path: Path, action: str) -> None:
    async def work(it: Stolen) -> None:
        thief = forged(it, SigningKey.generate(), action=action)
        true = it.own.make_command(it.model, action)
        for command in (
            thief,
            replace_signature(true, bytes(64)),
            replace_signature(true, thief.signature),
            b"",
            b"{}",
            json.dumps({"document": "e30=", "signature": "e30="}).encode(),
        ):
            assert set(await give(it, command)) <= {400, 403}
        assert await serving(it) == ["serving"] * 3
        await it.still_right()

    attack(work, tmp_path)


def replace_signature(signed: Signed, signature: bytes) -> Signed:
    return signed.model_copy(update={"signature": signature})


@pytest.mark.parametrize("action", ACTIONS)
def test_a_partys_key_signs_a_command(tmp_path: Path, action: str) -> None:
    """Not even a compromised party's signature is the owner's."""

    async def work(it: Stolen) -> None:
        for party in range(3):
            signing = PartyIdentity.load(tmp_path / f"party{party}" / "keys").signing
            assert await give(it, forged(it, signing, action=action)) == [403] * 3
        await it.still_right()

    attack(work, tmp_path)


def test_another_documents_signature_for_a_command(tmp_path: Path) -> None:
    """The owner has signed these very bytes, but as something else."""

    async def work(it: Stolen) -> None:
        document = it.own.make_command(it.model, "delete").document
        for label in ("manifest", "receipt", "descriptor", "party key"):
            signed = it.parties.owner.sign(label, document)
            assert await give(it, signed) == [403] * 3
        await it.still_right()

    attack(work, tmp_path)


def test_old_commands_are_given_again(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        old = [
            it.own.make_command(it.model, "stop"),
            it.own.make_command(it.model, "serve", 1000),
            it.own.make_command(it.model, "serve", 5),
        ]
        for command in old:
            assert await give(it, command) == [200] * 3
        for seed in range(5):
            right(await it.query(inputs(1, seed)), inputs(1, seed))
        refused(await it.query(), 429)
        for command in old[:2]:
            assert await give(it, command) == [409] * 3
        assert await give(it, old[2]) == [200] * 3  # the last one, and it changes nothing:
        refused(await it.query(), 429)  # above all, the count does not begin anew
        assert await it.served() == [5, 5]

    attack(work, tmp_path)


def test_old_commands_after_a_restart(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        serve = it.own.make_command(it.model, "serve")
        stop = it.own.make_command(it.model, "stop")
        assert await give(it, serve) == [200] * 3
        assert await give(it, stop) == [200] * 3
        await it.parties.stop()
        it.parties.start()
        await it.parties.ready()
        it.own = await it.parties.gateway()
        assert await give(it, serve) == [409] * 3
        assert await serving(it) == ["stopped"] * 3

    attack(work, tmp_path)


def test_a_command_is_held_back_beyond_its_life(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        now = int(it.parties.clock.now() * 1000)
        late = forged(
            it, it.parties.owner, action="stop", issued_ms=now - 60_000, expires_ms=now - 1
        )
        assert await give(it, late) == [409] * 3
        early = forged(
            it,
            it.parties.owner,
            action="stop",
            issued_ms=now + 600_000,
            expires_ms=now + 700_000,
        )
        assert await give(it, early) == [409] * 3
        assert await serving(it) == ["serving"] * 3

    attack(work, tmp_path)


def test_a_command_is_redirected(tmp_path: Path) -> None:
    """To another model, another name, another deployment: the owner signed neither."""

    async def work(it: Stolen) -> None:
        other = await it.own.push(OTHER_PLAN, OTHER_WEIGHTS, "other")
        for_other = it.own.make_command(other, "delete", name="other")
        fields = json.loads(for_other.document)
        for change in (
            {"model": it.model},
            {"name": "mnist"},
            {"model": it.model, "name": "mnist"},
        ):
            document = json.dumps({**fields, **change}, separators=(",", ":")).encode()
            edited = for_other.model_copy(update={"document": document})
            assert set(await give(it, edited)) <= {400, 403}
        elsewhere = forged(it, it.parties.owner, deployment="00" * 16)
        assert await give(it, elsewhere) == [409] * 3
        misnamed = forged(it, it.parties.owner, name="other")
        assert await give(it, misnamed) == [409] * 3
        await it.still_right()

    attack(work, tmp_path)


def test_a_command_reaches_one_party_only(tmp_path: Path) -> None:
    """The parties tell each other, on the owner's word: none serves on after a stop."""

    async def work(it: Stolen) -> None:
        def served() -> bool:
            nodes = it.parties.nodes.values()
            return any(n.catalog.entries[it.model].record.serving for n in nodes)

        for party in range(3):
            stop = it.own.make_command(it.model, "stop")
            await it.own.ask(party, Kind.COMMAND, stop.encode())
            await until(lambda: not served())
            refused(await it.query(), 503)
            await it.own.command(it.model, "serve", 100)
        await it.still_right()

    attack(work, tmp_path)


# ---- pushes


async def _keys(it: Stolen) -> list[Any]:
    return [await it.own.key(party) for party in range(3)]


def test_a_push_that_no_owner_signed(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        keys, true_owner = await _keys(it), it.parties.owner
        thief = SigningKey.generate()
        for owner in (thief.public.hex(), true_owner.public.hex()):
            it.parties.owner = thief
            header, envelopes, _ = it.own.make_push(
                OTHER_PLAN, OTHER_WEIGHTS, keys, "fresh", owner=owner
            )
            it.parties.owner = true_owner
            for party in range(3):
                with pytest.raises(Refused, match="403"):
                    await it.own.prepare(party, header, envelopes[party])
        assert all(n.catalog.prepared == {} for n in it.parties.nodes.values())
        await it.still_right()

    attack(work, tmp_path)


def test_another_owners_model_is_replaced(tmp_path: Path) -> None:
    """Both owners are known here; a name belongs to the one who has it."""

    async def work(it: Stolen) -> None:
        second = SigningKey.generate()
        first = it.parties.owner
        fresh = it.parties.deployment.model_copy(
            update={"owners": (first.public.hex(), second.public.hex())}
        )
        for index, node in it.parties.nodes.items():
            keys = PartyIdentity.load(tmp_path / f"party{index}" / "keys")
            await node.renew(fresh, keys)
        announced = await _keys(it)
        it.parties.owner = second
        header, envelopes, _ = it.own.make_push(
            OTHER_PLAN, OTHER_WEIGHTS, announced, replace=it.model
        )
        for party in range(3):
            with pytest.raises(Refused, match="403"):
                await it.own.prepare(party, header, envelopes[party])
        assert await give(it, forged(it, second)) == [403] * 3
        it.parties.owner = first
        await it.still_right()

    attack(work, tmp_path)


def test_a_push_is_sent_again_after_its_model_was_deleted(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        header, envelopes, model = it.own.make_push(
            OTHER_PLAN, OTHER_WEIGHTS, await _keys(it), "fresh"
        )
        receipts = [await it.own.prepare(p, header, envelopes[p]) for p in range(3)]
        for party in range(3):
            await it.own.commit(party, model, receipts)
        await it.own.command(model, "delete", name="fresh")
        for party in range(3):
            with pytest.raises(Refused, match="409"):
                await it.own.prepare(party, header, envelopes[party])
            with pytest.raises(Refused, match="404"):
                await it.own.commit(party, model, receipts)
        await it.still_right()

    attack(work, tmp_path)


def test_envelopes_of_two_pushes_are_mixed(tmp_path: Path) -> None:
    """Every party's share is of the manifest that the owner signed, or it is refused."""

    async def work(it: Stolen) -> None:
        keys = await _keys(it)
        one = it.own.make_push(PLAN, WEIGHTS, keys, "one")
        two = it.own.make_push(OTHER_PLAN, OTHER_WEIGHTS, keys, "two")
        for header, envelopes in ((one[0], two[1]), (two[0], one[1])):
            for party in range(3):
                with pytest.raises(Refused, match="400|422"):
                    await it.own.prepare(party, header, envelopes[party])
        for party in range(3):  # another party's envelope
            with pytest.raises(Refused, match="400|422"):
                await it.own.prepare(party, one[0], one[1][(party + 1) % 3])
        await it.still_right()

    attack(work, tmp_path)


@pytest.mark.parametrize("cut", [1, 40, 1000])
def test_a_push_is_cut_off(tmp_path: Path, cut: int) -> None:
    async def work(it: Stolen) -> None:
        header, envelopes, _ = it.own.make_push(PLAN, WEIGHTS, await _keys(it), "one")
        for party in (0, 1):
            with pytest.raises(Refused, match="400|422"):
                await it.own.prepare(party, header, envelopes[party][:-cut])
        await it.still_right()

    attack(work, tmp_path)


def test_a_commit_on_receipts_that_are_not_three_parties(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        keys = await _keys(it)
        header, envelopes, model = it.own.make_push(OTHER_PLAN, OTHER_WEIGHTS, keys, "two")
        other_header, other_envelopes, _ = it.own.make_push(PLAN, WEIGHTS, keys, "three")
        true = [await it.own.prepare(p, header, envelopes[p]) for p in (0, 1)]
        others = [await it.own.prepare(p, other_header, other_envelopes[p]) for p in range(3)]
        thief = SigningKey.generate()
        invented = thief.sign_document(
            Receipt(deployment=it.parties.deployment.id.hex(), party=2, model=model)
        )
        for receipts in (
            [*true, true[0]],
            [*true, others[2]],
            [*true, invented],
            [true[1], true[0], invented],
            others,
        ):
            for party in range(3):
                with pytest.raises(Refused, match="400|404|422"):
                    await it.own.commit(party, model, receipts)
        assert [len(n.catalog.entries) for n in it.parties.nodes.values()] == [1, 1, 1]
        await it.still_right()

    attack(work, tmp_path)


def test_a_push_is_never_in_force_at_some_parties_only(tmp_path: Path) -> None:
    """The gateway commits at one party and keeps the receipts from the others."""

    async def work(it: Stolen) -> None:
        header, envelopes, model = it.own.make_push(
            OTHER_PLAN, OTHER_WEIGHTS, await _keys(it), "two"
        )
        receipts = [await it.own.prepare(p, header, envelopes[p]) for p in range(3)]
        await it.own.commit(1, model, receipts)
        await until(lambda: all(model in n.catalog.entries for n in it.parties.nodes.values()))
        await it.still_right()

    attack(work, tmp_path)


def test_a_push_is_held_back_beyond_its_life(tmp_path: Path) -> None:
    async def work(it: Stolen) -> None:
        keys, now = await _keys(it), int(it.parties.clock.now() * 1000)
        header, envelopes, _ = it.own.make_push(
            PLAN, WEIGHTS, keys, "late", issued_ms=now - 60_000, expires_ms=now - 1
        )
        for party in range(3):
            with pytest.raises(Refused, match="409"):
                await it.own.prepare(party, header, envelopes[party])
        header, envelopes, _ = it.own.make_push(PLAN, WEIGHTS, keys, "late")
        expired = header.model_copy(update={"expires_ms": now - 1})
        for party in range(3):
            with pytest.raises(Refused, match="409"):
                await it.own.prepare(party, expired, envelopes[party])

    attack(work, tmp_path)


# ---- counts, and what gateways have no word for


def test_counts_change_by_answers_only(tmp_path: Path) -> None:
    """Refused, replayed and half-sent queries leave the evaluators' counts as they are."""

    async def work(it: Stolen) -> None:
        right(await it.query(inputs()), inputs())
        query = await it.own.seal_query(inputs())
        bad = replace(query, envelopes=[query.envelopes[0], b"x" * 200])
        for _ in range(5):
            (futures,) = await it.own.send([bad])
            for future in futures:
                with pytest.raises(Refused):
                    await future
        assert await it.served() == [1, 1]
        right(await it.query(inputs(1, 7)), inputs(1, 7))
        refused(await it.query(), 429)
        assert await it.served() == [2, 2]

    attack(work, tmp_path, num_requests=2)


def test_messages_that_are_not_a_gateways(tmp_path: Path) -> None:
    """What peers say to each other means nothing on a gateway's link."""

    async def work(it: Stolen) -> None:
        epochs = [n.peers.epoch for n in it.parties.nodes.values()]
        kinds = [*(k for k in Kind if k < Kind.STATUS), 0, 15, 41, Kind.RESPONSE, Kind.RESULT, 253]
        for party, kind in itertools.product(range(3), kinds):
            for payload in (b"", b"{}", secrets.token_bytes(64)):
                with pytest.raises(Refused, match="400"):
                    await it.own.ask(party, kind, payload)
        assert [n.peers.epoch for n in it.parties.nodes.values()] == epochs
        await it.still_right()

    attack(work, tmp_path)
