"""The dealer alone, with what it sends written down."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from libmpc import runtime
from libmpc.party import groups
from libmpc.party.dealer import Dealer
from libmpc.party.messages import BundleHeader, Deal
from libmpc.party.meters import Meters
from libmpc.prg import Stream
from libmpc.protocol import DealerWeights, Payload, share_weights
from libmpc.runtime import correction_sizes
from libmpc.shares import new_seed
from libmpc.wire.errors import WireError
from tests.party.test_queries import PLAN, WEIGHTS
from tests.party.triple import until

MODEL = "ab" * 32


def streams_for(model: str, number: int) -> tuple[Stream, Stream]:
    return Stream(number.to_bytes(16)), Stream(bytes(16))


class Sent:
    """What a dealer sends; corrections of ``held`` bundles wait."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int]] = []
        self.held: dict[int, asyncio.Event] = {}
        self.meters = Meters()
        self.sent: dict[int, list[bytes]] = {}

    def dealer(self, executor: ThreadPoolExecutor) -> Dealer:
        shares = share_weights(PLAN, WEIGHTS, new_seed(), new_seed())
        self.weights = DealerWeights.from_payload(PLAN, shares[2])
        entry = SimpleNamespace(plan=PLAN, weights=self.weights, sharing=bytes(32))
        catalog: Any = SimpleNamespace(find={MODEL: entry}.get)
        return Dealer(
            catalog=catalog,
            streams=streams_for,
            announce=self.announce,
            correct=self.correct,
            dealt=self.note("dealt"),
            decline=self.note("declined"),
            ended=self.note("ended"),
            executor=executor,
            window=1,
            at_once=2,
            meters=self.meters,
        )

    def note(self, kind: str) -> Any:
        async def send(what: BundleHeader | int) -> None:
            self.log.append((kind, what if isinstance(what, int) else what.bundle))

        return send

    async def announce(self, header: BundleHeader, first: Payload) -> None:
        await self.note("bundle")(header)
        self.sent[header.bundle] = [bytes(first)]
        await self.wait(header.bundle)

    async def correct(self, bundle: int, step: int, part: Payload) -> None:
        self.sent[bundle].append(bytes(part))
        await self.wait(bundle)

    async def wait(self, bundle: int) -> None:
        if (event := self.held.get(bundle)) is not None:
            self.log.append(("held", bundle))
            await event.wait()

    async def until(self, entry: tuple[str, int]) -> None:
        await until(lambda: entry in self.log)


def deal(number: int, *, streamed: bool, count: int = 1) -> Deal:
    return Deal(bundle=number, count=count, model=MODEL, rung=1, streamed=streamed)


def test_bundles_are_announced_in_the_order_of_their_numbers() -> None:
    async def main() -> None:
        sent = Sent()
        with ThreadPoolExecutor(1) as executor:
            dealer = sent.dealer(executor)
            sent.held[1] = asyncio.Event()
            running = asyncio.ensure_future(dealer.run())
            for number, streamed in ((1, False), (2, False), (3, True), (4, False)):
                dealer.request(deal(number, streamed=streamed))
            await sent.until(("held", 1))
            sent.held.pop(1).set()
            await sent.until(("dealt", 4))
            running.cancel()
            await asyncio.wait({running})
        assert [n for kind, n in sent.log if kind == "bundle"] == [1, 2, 3, 4]

    asyncio.run(main())


def test_a_group_is_what_its_bundles_are_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, one behind the other; a buffer that is used again has nothing of the last one."""
    monkeypatch.setattr(groups, "PIECE_BYTES", 1000)
    size = sum(correction_sizes(PLAN, 1).values())

    async def main() -> None:
        sent = Sent()
        with ThreadPoolExecutor(1) as executor:
            dealer = sent.dealer(executor)
            running = asyncio.ensure_future(dealer.run())
            for first, count in ((1, 5), (6, 1), (7, 3), (10, 5)):
                dealer.request(deal(first, streamed=False, count=count))
            await sent.until(("dealt", 10))
            running.cancel()
            await asyncio.wait({running})
        alone = {}
        for number in range(1, 15):
            parts = runtime.deal(PLAN, sent.weights, 1, *streams_for(MODEL, number))
            alone[number] = b"".join(bytes(part) for _, part in parts)
        for first, count in ((1, 5), (6, 1), (7, 3), (10, 5)):
            joined = b"".join(sent.sent[first])
            assert joined == b"".join(alone[first + i] for i in range(count))
            lengths = [len(piece) for piece in sent.sent[first]]
            assert lengths[:-1] == [1000] * (count * size // 1000)
        assert len(set(alone.values())) == len(alone)

    asyncio.run(main())


def test_a_group_of_too_many_bundles_is_declined_and_not_dealt() -> None:
    many = groups.largest_group(sum(correction_sizes(PLAN, 128).values())) + 1

    async def main() -> None:
        sent = Sent()
        with ThreadPoolExecutor(1) as executor:
            dealer = sent.dealer(executor)
            running = asyncio.ensure_future(dealer.run())
            dealer.request(deal(1, streamed=False).model_copy(update={"count": many, "rung": 128}))
            dealer.request(deal(1 + many, streamed=False))
            await sent.until(("dealt", 1 + many))
            with pytest.raises(WireError, match="rise"):
                dealer.request(deal(1 + many, streamed=False))
            running.cancel()
            await asyncio.wait({running})
        assert sent.log[:many] == [("declined", number) for number in range(1, 1 + many)]

    asyncio.run(main())


def test_a_stream_that_ends_before_its_turn_is_never_announced() -> None:
    async def main() -> None:
        sent = Sent()
        with ThreadPoolExecutor(1) as executor:
            dealer = sent.dealer(executor)
            sent.held[1] = asyncio.Event()
            running = asyncio.ensure_future(dealer.run())
            dealer.request(deal(1, streamed=False))
            dealer.request(deal(2, streamed=True))
            dealer.request(deal(3, streamed=False))
            await sent.until(("held", 1))
            dealer.end(2)
            sent.held.pop(1).set()
            await sent.until(("dealt", 3))
            assert dealer.streams == 0
            running.cancel()
            await asyncio.wait({running})
        assert [n for kind, n in sent.log if kind == "bundle"] == [1, 3]

    asyncio.run(main())


def test_a_stream_that_ends_while_it_is_announced_is_ended_at_party_1() -> None:
    async def main() -> None:
        sent = Sent()
        with ThreadPoolExecutor(1) as executor:
            dealer = sent.dealer(executor)
            announce = dealer._announce

            async def end_meanwhile(header: BundleHeader, first: Payload) -> None:
                dealer.end(header.bundle)
                await announce(header, first)

            dealer._announce = end_meanwhile
            running = asyncio.ensure_future(dealer.run())
            dealer.request(deal(1, streamed=True))
            await sent.until(("ended", 1))
            assert dealer.streams == 0
            running.cancel()
            await asyncio.wait({running})
        assert sent.log[0] == ("bundle", 1)
        assert sent.log[-1] == ("ended", 1)

    asyncio.run(main())
