"""Bundles that are dealt, prepared and spent step by step, and whatever may end one early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from libmpc.fixedpoint import decode, encode
from libmpc.graph.plan import DenseStep, InputStep, OutputStep, Plan, ReluStep, Step
from libmpc.graph.reference import run_reference
from libmpc.party.dealer import Dealer
from libmpc.party.node_settings import NodeSettings
from libmpc.party.settings import RoleSettings
from libmpc.party.streams import Window
from libmpc.runtime import correction_sizes
from libmpc.wire import Descriptor, Signed
from tests.party.test_queries import PLAN, WEIGHTS, inputs, statuses
from tests.party.triple import FAST, Triple, expected, triple, until

WIDTH, LAYERS = 6, 5


def deep() -> tuple[Plan, dict[int, Any]]:
    """A network of many steps, each with a correction."""
    rng = np.random.default_rng(5)
    steps: list[Step] = [InputStep(shape=(WIDTH,))]
    for _ in range(LAYERS):
        steps.append(DenseStep(source=len(steps) - 1, inputs=WIDTH, outputs=WIDTH))
        steps.append(ReluStep(source=len(steps) - 1, shape=(WIDTH,)))
    steps.append(DenseStep(source=len(steps) - 1, inputs=WIDTH, outputs=WIDTH))
    steps.append(OutputStep(source=len(steps) - 1, shape=(WIDTH,)))
    plan = Plan(steps=tuple(steps))
    weights = {
        index: (encode(rng.normal(size=(WIDTH, WIDTH))), encode(rng.normal(size=WIDTH), 32))
        for index in plan.linear_steps
    }
    return plan, weights


DEEP, DEEP_WEIGHTS = deep()
STEP_BYTES = max(correction_sizes(DEEP, 1).values())
BUNDLE_BYTES = sum(correction_sizes(DEEP, 1).values())


def rows(batch: int = 1, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (batch, WIDTH))


def reference(x: np.ndarray) -> np.ndarray:
    return decode(run_reference(DEEP, DEEP_WEIGHTS, encode(x)), 32)


def streaming(window: int = 1, above: int = 0, streams: int = 2) -> NodeSettings:
    role = RoleSettings(stream_bytes=above, stream_window=window, streams=streams)
    return NodeSettings(link=FAST, role=role)


@asynccontextmanager
async def deployment(directory: Path, settings: NodeSettings) -> AsyncIterator[tuple[Triple, Any]]:
    """Parties that hold the deep network."""
    async with triple(directory, settings=settings) as parties:
        gateway = await parties.gateway()
        await gateway.push(DEEP, DEEP_WEIGHTS, "deep")
        yield parties, gateway


def role(parties: Triple, party: int) -> Any:
    found: Any = parties.nodes[party].role.now
    return found


def nothing_left(parties: Triple) -> bool:
    """No party keeps anything of a streamed bundle."""
    dealer, leader, follower = role(parties, 2)._dealer, role(parties, 0), role(parties, 1)
    return not any(
        (
            dealer._flows,
            leader._begun,
            leader._runs,
            follower._runs,
            follower._streams,
            follower._ended,
            follower.pool._ready,
        )
    )


class Gate:
    """Stops the dealer before it sends the corrections of a step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int = 2) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self.shut = True
        room = Window.room
        passed: dict[Window, int] = {}

        async def wait(window: Window) -> None:
            passed[window] = passed.get(window, 0) + 1
            if self.shut and passed[window] > after:
                self.reached.set()
                await self.opened.wait()
            await room(window)

        monkeypatch.setattr(Window, "room", wait)

    def open(self) -> None:
        self.shut = False
        self.opened.set()


@pytest.mark.parametrize("window", [1, STEP_BYTES + 1, 1 << 20])
def test_streamed_answers_equal_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    sent = Window.sent
    most = 0

    def note(flow: Window, step: int, size: int) -> None:
        nonlocal most
        sent(flow, step, size)
        most = max(most, sum(flow._under_way.values()))

    monkeypatch.setattr(Window, "sent", note)

    async def main() -> None:
        async with deployment(tmp_path, streaming(window)) as (parties, gateway):
            for batch in (1, 3, 9):
                x = rows(batch)
                assert np.array_equal(await gateway.query(x, "deep"), reference(x))
            await until(lambda: nothing_left(parties))
            assert not role(parties, 0).levels
            assert not role(parties, 1).levels

    asyncio.run(main())
    # A step is sent while less than the window is on its way.
    assert most < window + 8 * STEP_BYTES
    assert most < BUNDLE_BYTES or window > STEP_BYTES


def test_a_query_to_another_model_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        above = sum(correction_sizes(PLAN, 1).values()) * 3
        async with deployment(tmp_path, streaming(above=above)) as (_, gateway):
            await gateway.push(PLAN, WEIGHTS)
            gate = Gate(monkeypatch)
            large = asyncio.ensure_future(gateway.query(rows(), "deep"))
            await gate.reached.wait()
            for _ in range(3):
                assert np.array_equal(
                    await gateway.query(inputs()), expected(PLAN, WEIGHTS, inputs())
                )
            assert not large.done()
            gate.open()
            assert np.array_equal(await large, reference(rows()))

    asyncio.run(main())


def test_a_query_whose_time_is_up_stops_the_dealer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with deployment(tmp_path, streaming()) as (parties, gateway):
            epoch = parties.nodes[0].peers.epoch
            gate = Gate(monkeypatch)
            query = await gateway.seal_query(rows(), "deep")
            (answer,) = await gateway.send([query], timeout_ms=300)
            await gate.reached.wait()
            assert await statuses(answer) == [503, 503]
            await until(lambda: nothing_left(parties))
            gate.open()
            assert np.array_equal(await gateway.query(rows(), "deep"), reference(rows()))
            assert parties.nodes[0].peers.epoch == epoch

    asyncio.run(main())


def test_corrections_of_a_stream_that_has_ended_are_ignored(tmp_path: Path) -> None:
    async def main() -> None:
        async with deployment(tmp_path, streaming(1 << 20)) as (parties, gateway):
            epoch = parties.nodes[0].peers.epoch
            # Party 1 hears of the bundle and its corrections only after the run has ended.
            parties.streams[2, 1].held = True
            query = await gateway.seal_query(rows(), "deep")
            (answer,) = await gateway.send([query], timeout_ms=100)
            assert await statuses(answer) == [503, 503]
            parties.streams[2, 1].release()
            await until(lambda: nothing_left(parties))
            assert np.array_equal(await gateway.query(rows(), "deep"), reference(rows()))
            assert parties.nodes[0].peers.epoch == epoch

    asyncio.run(main())


def test_the_rest_of_a_batch_goes_again_where_one_query_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with deployment(tmp_path, streaming()) as (parties, gateway):
            bad, fine = [await gateway.seal_query(rows(4), "deep") for _ in range(2)]
            bad.envelopes[1] = bad.envelopes[1][:-1] + bytes([bad.envelopes[1][-1] ^ 1])
            answers = await gateway.send([bad, fine])
            assert 200 not in await statuses(answers[0])
            replies = await asyncio.gather(*answers[1])
            assert np.array_equal(fine.open(replies, parties.deployment), reference(rows(4)))
            await until(lambda: nothing_left(parties))

    asyncio.run(main())


def test_an_evaluator_that_does_not_hold_the_model_yet(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path, settings=streaming()) as parties:
            gateway = await parties.gateway()
            epoch = parties.nodes[0].peers.epoch
            keys = [await gateway.key(p) for p in range(3)]
            header, envelopes, model = gateway.make_push(DEEP, DEEP_WEIGHTS, keys, "deep")
            receipts = [await gateway.prepare(p, header, envelopes[p]) for p in range(3)]
            parties.nodes[1].peers._greeted = lambda *_: None  # it does not hear of the commit
            for party in (0, 2):
                await gateway.commit(party, model, receipts)
            descriptor = (await gateway.models(0)).models[0].descriptor
            assert descriptor is not None
            fetch = gateway.describe
            gateway.describe = lambda name: _described(descriptor)  # type: ignore[method-assign]
            query = await gateway.seal_query(rows(), "deep")
            (answer,) = await gateway.send([query])
            assert 200 not in await statuses(answer)
            await until(lambda: nothing_left(parties))
            gateway.describe = fetch  # type: ignore[method-assign]
            await gateway.commit(1, model, receipts)
            assert np.array_equal(await gateway.query(rows(), "deep"), reference(rows()))
            assert parties.nodes[0].peers.epoch == epoch

    asyncio.run(main())


async def _described(signed: Signed) -> Descriptor:
    return Descriptor.parse(signed.document)


@pytest.mark.parametrize("link", [(0, 1), (1, 2), (0, 2)])
def test_the_end_of_an_epoch_ends_every_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: tuple[int, int]
) -> None:
    async def main() -> None:
        async with deployment(tmp_path, streaming()) as (parties, gateway):
            gate = Gate(monkeypatch)
            query = await gateway.seal_query(rows(), "deep")
            (answer,) = await gateway.send([query])
            await gate.reached.wait()
            first = role(parties, 1)
            (taken,) = [bundle for _, bundle in first._streams.values()]
            dealer = role(parties, 2)._dealer
            parties.streams[link].cut()
            assert await statuses(answer) == [503, 503]
            await until(lambda: not dealer._flows and not first._streams and not taken.nbytes)
            gate.open()
            await parties.ready()
            assert np.array_equal(await gateway.query(rows(), "deep"), reference(rows()))

    asyncio.run(main())


def test_so_many_at_once_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 0
    dealing: set[Any] = set()
    correct = Dealer._next

    def note(dealer: Dealer, parts: Any) -> Any:
        nonlocal most
        dealing.add(parts)
        most = max(most, len(dealing))
        coming = correct(dealer, parts)
        coming.add_done_callback(lambda part: part.result() or dealing.discard(parts))
        return coming

    monkeypatch.setattr(Dealer, "_next", note)

    async def main() -> None:
        async with deployment(tmp_path, streaming(streams=2)) as (_, gateway):
            x = rows(7)  # as seven runs: larger batches have steps above the window
            assert np.array_equal(await gateway.query(x, "deep"), reference(x))

    asyncio.run(main())
    assert most == 2
