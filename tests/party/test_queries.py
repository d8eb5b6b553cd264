"""Queries through three real parties in one process, over sealed links."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from libmpc.link import LinkSettings
from libmpc.party.messages import Kind
from libmpc.party.node_settings import NodeSettings
from tests.party.triple import Gateway, Refused, expected, perceptron, triple, until

PLAN, WEIGHTS = perceptron()


def inputs(batch: int = 1, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, 12))


async def statuses(futures: list[asyncio.Future[bytes]]) -> list[int]:
    """200 or the refusal's status, of both parties."""
    answers = await asyncio.gather(*futures, return_exceptions=True)
    return [a.status if isinstance(a, Refused) else 200 for a in answers]


def test_a_wait_for_an_envelope_that_ends_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            desk = parties.nodes[1].desk
            waits = [asyncio.ensure_future(desk.find("ab" * 16)) for _ in range(2)]
            await asyncio.sleep(0)
            waits[0].cancel()  # as at the end of its epoch
            await asyncio.sleep(0)
            desk.dismiss("ab" * 16)
            await asyncio.wait_for(waits[1], 1)
            assert not desk._awaited
            late = asyncio.ensure_future(desk.find("cd" * 16))
            await asyncio.sleep(0)
            late.cancel()
            await asyncio.gather(late, return_exceptions=True)
            assert not desk._awaited

    asyncio.run(main())


def test_answers_equal_the_integer_reference(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            for batch in (1, 3, 20, 300):
                x = inputs(batch)
                assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))

    asyncio.run(main())


def test_queries_of_one_batch_share_runs_and_nothing_else(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            xs = [inputs(batch, seed) for seed, batch in enumerate((1, 5, 2, 140, 1))]
            queries = [await gateway.seal_query(x) for x in xs]
            for x, query, futures in zip(xs, queries, await gateway.send(queries), strict=True):
                answer = query.open(await asyncio.gather(*futures), parties.deployment)
                assert np.array_equal(answer, expected(PLAN, WEIGHTS, x))

    asyncio.run(main())


@pytest.mark.parametrize("rows", [1, 128])
def test_a_short_query_does_not_wait_for_a_long_one(tmp_path: Path, rows: int) -> None:
    """Neither for its runs of other sizes, nor for more than a few of its own."""

    async def main() -> None:
        settings = NodeSettings(link=LinkSettings(max_message=1 << 30))
        async with triple(tmp_path, settings=settings) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            long = await gateway.seal_query(inputs(128 * 24))
            short = await gateway.seal_query(inputs(rows))
            (long_answer,) = await gateway.send([long])
            await until(lambda: parties.nodes[0].desk.found(long.header.number))
            (short_answer,) = await gateway.send([short])
            assert await statuses(short_answer) == [200, 200]
            under_way = parties.nodes[0].desk.found(long.header.number)
            assert under_way is not None
            assert len(under_way.digests) < 12  # of 24 runs
            answer = long.open(await asyncio.gather(*long_answer), parties.deployment)
            assert np.array_equal(answer, expected(PLAN, WEIGHTS, inputs(128 * 24)))

    asyncio.run(main())


def test_an_envelope_is_good_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            query = await gateway.seal_query(inputs())
            (first,) = await gateway.send([query])
            assert await statuses(first) == [200, 200]
            (second,) = await gateway.send([query])
            assert await statuses(second) == [409, 409]

    asyncio.run(main())


def _flip(envelope: bytes) -> bytes:
    return envelope[:-1] + bytes([envelope[-1] ^ 1])


def test_bad_envelopes_fail_alone(tmp_path: Path) -> None:
    """The rest of the batch goes again on another bundle."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            xs = [inputs(2, seed) for seed in range(6)]
            queries = [await gateway.seal_query(x) for x in xs]
            bad = {
                0: [_flip(queries[0].envelopes[0]), queries[0].envelopes[1]],
                1: [queries[1].envelopes[0], _flip(queries[1].envelopes[1])],
                2: queries[2].envelopes[::-1],  # each for the other party
                3: queries[1].envelopes,  # another query's
            }
            for index, envelopes in bad.items():
                queries[index].envelopes = envelopes
            answers = await gateway.send(queries)
            for index in bad:
                assert 200 not in await statuses(answers[index])
                assert {400, 422} & set(await statuses(answers[index]))
            for index in (4, 5):
                replies = await asyncio.gather(*answers[index])
                answer = queries[index].open(replies, parties.deployment)
                assert np.array_equal(answer, expected(PLAN, WEIGHTS, xs[index]))

    asyncio.run(main())


def test_a_gateway_cannot_mix_the_halves_of_two_sealings(tmp_path: Path) -> None:
    """Both halves valid, of one query number, but from two sealings: the tags tell."""

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            first = await gateway.seal_query(inputs(1, 1))
            again = await gateway.seal_query(inputs(1, 2), header=first.header)
            mixed = replace(first, envelopes=[first.envelopes[0], again.envelopes[1]])
            fine = await gateway.seal_query(inputs(1, 3))
            answers = await gateway.send([mixed, fine])
            assert await statuses(answers[0]) == [503, 422]
            assert await statuses(answers[1]) == [200, 200]

    asyncio.run(main())


@pytest.mark.parametrize("change", ["model", "expired", "far", "shape", "key"])
def test_headers_that_do_not_fit_are_refused(tmp_path: Path, change: str) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            query = await gateway.seal_query(inputs())
            fields, status = {
                "model": ({"model": "ab" * 32}, 409),
                "expired": ({"expires_ms": 1000}, 409),
                "far": ({"expires_ms": query.header.expires_ms + 10**9}, 409),
                "shape": ({"shape": (1, 13)}, 422),
                "key": ({"key_ids": ("00" * 8, "00" * 8)}, 409),
            }[change]
            query.header = query.header.model_copy(update=fields)
            (answers,) = await gateway.send([query])
            assert await statuses(answers) == [status, status]

    asyncio.run(main())


async def _exhaust(gateway: Gateway, most: int) -> int:
    served = 0
    for _ in range(most):
        try:
            await gateway.query(inputs(3))
        except Refused as refused:
            assert refused.status == 429
            return served
        served += 1
    return served


def test_a_limit_holds_and_survives_restarts(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS, num_requests=3)
            await gateway.query(inputs())
            await gateway.query(inputs())
            await parties.stop(0, 1)
            parties.start(0, 1)
            await parties.ready()
            gateway = await parties.gateway()
            assert await _exhaust(gateway, 5) == 1
            await gateway.command(model, "serve", 2)
            await gateway.command(model, "serve", 2)
            assert await _exhaust(gateway, 5) == 2
            await gateway.command(model, "serve", None)
            assert await _exhaust(gateway, 5) == 5

    asyncio.run(main())


def test_a_limit_holds_for_simultaneous_queries(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS, num_requests=5)
            queries = [await gateway.seal_query(inputs()) for _ in range(12)]
            answers = [await statuses(f) for f in await gateway.send(queries)]
            assert answers.count([200, 200]) == 5
            assert answers.count([429, 429]) == 7
            assert (await gateway.models(0)).models[0].served == 5
            assert (await gateway.models(1)).models[0].served == 5

    asyncio.run(main())


def test_a_stopped_model_does_not_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            await gateway.command(model, "stop")
            with pytest.raises(Refused, match="503: .*stopped"):
                await gateway.query(inputs())
            await gateway.command(model, "serve")
            await gateway.query(inputs())

    asyncio.run(main())


def test_requests_that_are_none_get_an_answer(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            for party in range(3):
                for kind in (Kind.PREPARE, Kind.COMMIT, Kind.COMMAND, Kind.BATCH, 99):
                    for body in (b"", b"{}", b"\xff" * 40, b"\0\0\0\2{}", b"[" * 100_000):
                        with pytest.raises(Refused, match="^(400|422):"):
                            await gateway.ask(party, kind, body)

    asyncio.run(main())


def test_requests_without_a_limit_are_counted_too_and_a_new_period_begins_at_zero(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            for _ in range(3):
                await gateway.query(inputs())
            await gateway.command(model, "serve", 1)
            assert await _exhaust(gateway, 5) == 1
            await gateway.command(model, "serve", None)
            await gateway.query(inputs())
            await parties.stop(0)
            parties.start(0)
            await parties.ready()
            gateway = await parties.gateway()
            assert (await gateway.models(0)).models[0].served == 1

    asyncio.run(main())


def test_an_unforeseen_error_ends_the_query_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)

            def fail(*_: object) -> None:
                raise ValueError("a value 0.123")

            parties.nodes[0].desk._intake.open = fail  # type: ignore[assignment, method-assign]
            query = await gateway.seal_query(inputs())
            (answer,) = await gateway.send([query])
            async with asyncio.timeout(5):
                assert await statuses(answer) == [503, 503]

    asyncio.run(main())
    assert "ValueError at" in caplog.text
    assert "0.123" not in caplog.text
