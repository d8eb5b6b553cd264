"""Queries for less than the logits through three real parties: answers, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.answers import plain
from libmpc.errors import InputError, UnavailableError
from libmpc.outputs import parse
from libmpc.party import greetings
from libmpc.party.messages import Kind
from libmpc.party.queries import Query
from tests.party.test_queries import inputs, statuses
from tests.party.triple import Refused, expected, perceptron, triple, until

PLAN, WEIGHTS = perceptron(outputs=10)
KINDS = ("label", "topk:3", "scores:8", "scores:0", "logits")


def wanted(x: np.ndarray, text: str) -> np.ndarray:
    return plain(parse(text), expected(PLAN, WEIGHTS, x))


def test_answers_are_those_of_numpy(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            for text in KINDS:
                for batch in (1, 20):
                    x = inputs(batch)
                    assert np.array_equal(await gateway.query(x, output=text), wanted(x, text))

    asyncio.run(main())


def test_one_batch_may_ask_for_different_things(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            asked = [(inputs(2, seed), KINDS[seed % len(KINDS)]) for seed in range(9)]
            queries = [await gateway.seal_query(x, outputs=(text, text)) for x, text in asked]
            sent = await gateway.send(queries)
            for (x, text), query, futures in zip(asked, queries, sent, strict=True):
                answer = query.open(await asyncio.gather(*futures), parties.deployment)
                assert np.array_equal(answer, wanted(x, text))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("policy", "fine", "refused"),
    [
        ("label", ("label", "topk:1"), ("logits", "topk:2", "scores:0")),
        ("topk:3", ("label", "topk:2", "topk:3"), ("logits", "topk:4", "scores:0:0.0:1.0")),
        ("scores:4", ("scores:4",), ("logits", "label", "scores:3", "scores:4:-1.0:1.0")),
        ("scores:2:-1.0:1.0", ("scores:2:-1.0:1.0",), ("scores:2", "scores:2:-1.0:0.5", "label")),
        ("logits", ("logits", "label"), ("topk:11", "scores:2:-1.0:1.0")),
    ],
)
def test_the_owners_policy_is_enforced_by_both(
    tmp_path: Path, policy: str, fine: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS, output=policy)
            assert (await gateway.describe()).output == policy
            x = inputs()
            for text in refused:
                query = await gateway.seal_query(x, outputs=(text, text))
                (futures,) = await gateway.send([query])
                assert await statuses(futures) == [422, 422]
            for text in fine:
                assert np.array_equal(await gateway.query(x, output=text), wanted(x, text))

    asyncio.run(main())


def test_both_halves_must_ask_for_the_same(tmp_path: Path) -> None:
    """A client that is told two different things gets nothing, and nobody else is held up."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            x = inputs()
            bad = await gateway.seal_query(x, outputs=("label", "logits"))
            fine = await gateway.seal_query(x, outputs=("label", "label"))
            first, second = await gateway.send([bad, fine], timeout_ms=3000)
            answer = fine.open(await asyncio.gather(*second), parties.deployment)
            assert np.array_equal(answer, wanted(x, "label"))
            assert await statuses(first) == [503, 503]

    asyncio.run(main())


def test_bundles_are_kept_ready_for_what_the_owner_allows(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS, output="label")
            key = f"{model}:label", 1
            for party in (0, 1):
                node = parties.nodes[party]
                await until(lambda node=node: node.role.levels.get(key, 0) > 1)  # type: ignore[misc]
                assert {variant for variant, _ in node.role.levels} == {key[0]}
            await gateway.query(inputs(), output="topk:1")
            await until(lambda: (f"{model}:topk:1", 1) in parties.nodes[1].role.levels)
            await gateway.command(model, "stop")
            await until(lambda: not parties.nodes[0].role.levels)

    asyncio.run(main())


def test_a_policy_that_the_model_cannot_keep_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            with pytest.raises(Refused, match="422"):
                await gateway.push(PLAN, WEIGHTS, output="topk:11")

    asyncio.run(main())


def test_requests_for_labels_count(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS, num_requests=2)
            await gateway.query(inputs(), output="label")
            await gateway.query(inputs())
            with pytest.raises(Refused, match="429"):
                await gateway.query(inputs(), output="label")

    asyncio.run(main())


def test_a_share_of_bits_is_uniform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one evaluator lets go for a label does not tell it."""
    kept: list[np.ndarray] = []
    keep = Query.keep

    def recorded(self: Query, start: int, stop: int, y: np.ndarray, digest: bytes) -> None:
        kept.append(y)
        keep(self, start, stop, y, digest)

    monkeypatch.setattr(Query, "keep", recorded)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            x = np.repeat(inputs(), 512, axis=0)
            labels = await gateway.query(x, output="label")
            assert np.unique(labels).size == 1

    asyncio.run(main())
    shares = [np.concatenate([y.reshape(len(y), -1) for y in kept[j::2]]) for j in (0, 1)]
    assert sum(len(share) for share in shares) == 1024
    for share in shares:
        assert set(np.unique(share)) == {0, 1}
        assert (abs(share.mean(axis=0) - 0.5) < 0.15).all()


def test_text_of_no_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        parse("label:1")

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            query = await gateway.seal_query(inputs(), outputs=("label", "everything"))
            (futures,) = await gateway.send([query], timeout_ms=2000)
            assert (await statuses(futures))[1] == 422

    asyncio.run(main())


def test_what_a_full_disk_refused_is_taken_over_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Party 1 hears of a deletion from party 0 once only, and its disk is full then."""
    monkeypatch.setattr(greetings, "ABSORB_AGAIN_SECONDS", 0.01)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            store, refused = parties.nodes[1].catalog._store, asyncio.Event()
            delete = store.delete

            def refuse(*given: Any) -> None:
                monkeypatch.setattr(store, "delete", delete)
                loop.call_soon_threadsafe(refused.set)
                raise UnavailableError("the disk is full", status=503, code="disk")

            loop = asyncio.get_running_loop()
            monkeypatch.setattr(store, "delete", refuse)
            signed = gateway.make_command(model, "delete", None, "mnist").encode()
            await gateway.ask(0, Kind.COMMAND, signed)
            await refused.wait()
            await until(lambda: not any(n.catalog.entries for n in parties.nodes.values()))

    asyncio.run(main())
