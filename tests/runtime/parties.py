"""Three parties with fixed keys, taken apart so that a test can look at each."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from libmpc.graph.plan import Plan
from libmpc.prg import Observer, Stream
from libmpc.protocol import (
    DealerWeights,
    EvaluatorWeights,
    Exchange,
    Payload,
    WeightShares,
    share_weights,
)
from libmpc.runtime import (
    Bundle,
    PreparedBundle,
    Preparer,
    StreamedBundle,
    deal,
    evaluate,
    memory_pair,
    prepare,
)

Words = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass
class Parties:
    """Dealer and evaluators of one plan; keys are named by a number, so runs can be repeated."""

    plan: Plan
    weights: Mapping[int, tuple[Words, Words]]
    seeds: tuple[bytes, bytes] = (bytes([1]) * 32, bytes([2]) * 32)
    observers: tuple[Observer | None, ...] = (None, None, None)
    messages: dict[tuple[int, int], bytes] = field(default_factory=dict)
    """By sender and tag, of the last run."""

    def __post_init__(self) -> None:
        self.shares: WeightShares = share_weights(self.plan, self.weights, *self.seeds)
        self.evaluators = tuple(
            EvaluatorWeights.from_payload(self.plan, j, self.shares[j]) for j in (0, 1)
        )
        self.dealer = DealerWeights.from_payload(self.plan, self.shares[2])

    def stream(self, pair: int, key: int, holder: int) -> Stream:
        """Pair 0 and 1: that party and the dealer; 2: the evaluators."""
        return Stream(bytes([pair, key]) + bytes(14), self.observers[holder])

    def corrections(self, batch: int, keys: tuple[int, int] = (0, 0)) -> dict[int, bytearray]:
        streams = [self.stream(j, keys[j], 2) for j in (0, 1)]
        return dict(deal(self.plan, self.dealer, batch, *streams))

    def bundles(
        self, batch: int, keys: tuple[int, int] = (0, 0)
    ) -> tuple[PreparedBundle, PreparedBundle]:
        corrections = self.corrections(batch, keys)
        return (
            prepare(self.plan, self.evaluators[0], batch, self.stream(0, keys[0], 0), None),
            prepare(self.plan, self.evaluators[1], batch, self.stream(1, keys[1], 1), corrections),
        )

    def preparer(self, party: int, batch: int, key: int = 0) -> Preparer:
        return Preparer(self.plan, self.evaluators[party], batch, self.stream(party, key, party))

    def streamed(
        self, batch: int, window: int, keys: tuple[int, int] = (0, 0)
    ) -> tuple[StreamedBundle, StreamedBundle]:
        """Bundles that are dealt and prepared as they are used; needs a running event loop."""
        dealt = deal(self.plan, self.dealer, batch, *(self.stream(j, keys[j], 2) for j in (0, 1)))

        async def correction(step: int) -> bytearray:
            index, payload = next(dealt)
            assert index == step
            return payload

        return (
            StreamedBundle(self.preparer(0, batch, keys[0]), window=window),
            StreamedBundle(self.preparer(1, batch, keys[1]), window=window, corrections=correction),
        )

    def run(
        self,
        x0: Words,
        x1: Words,
        keys: tuple[int, int] = (0, 0),
        rerandomise: int = 0,
        window: int | None = None,
        labels: tuple[Words, Words] | tuple[None, None] = (None, None),
    ) -> tuple[Words, Words]:
        """The shares that the two evaluators release; with a window, from streamed bundles."""
        self.messages.clear()

        async def both() -> list[Words]:
            ends = memory_pair()
            bundles: tuple[Bundle, Bundle] = (
                self.bundles(len(x0), keys)
                if window is None
                else self.streamed(len(x0), window, keys)
            )
            return await asyncio.gather(
                *(
                    evaluate(
                        self.plan,
                        self.evaluators[j],
                        bundles[j],
                        (x0, x1)[j],
                        self.stream(2, rerandomise, j),
                        self._recorded(j, ends[j]),
                        labels=labels[j],
                    )
                    for j in (0, 1)
                )
            )

        y0, y1 = asyncio.run(both())
        return y0, y1

    def _recorded(self, party: int, exchange: Exchange) -> Exchange:
        async def recorded(tag: int, payload: Payload) -> Payload:
            assert (party, tag) not in self.messages
            self.messages[party, tag] = bytes(payload)
            return await exchange(tag, payload)

        return recorded
