"""Three parties in one process, without sockets: for notebooks, tests and measurements."""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import Plan
from libmpc.prg import KEY_BYTES, Observer, Stream
from libmpc.protocol.weights import (
    DealerWeights,
    EncodedWeights,
    EvaluatorWeights,
    share_weights,
)
from libmpc.runtime.channel import Traffic, memory_pair
from libmpc.runtime.dealer import deal
from libmpc.runtime.evaluate import evaluate
from libmpc.runtime.prepare import prepare
from libmpc.shares import AdditiveShare, new_seed, reconstruct, split

Ring = NDArray[np.uint64]


class Simulation:
    """Shares a network among three parties in this process and answers queries.

    Args:
        plan: the network.
        weights: encoded weights and biases by linear step.
        observer: told of every draw from a common stream (see ``prg.Stream``).

    Attributes:
        traffic: rounds and bytes of all queries so far.
    """

    def __init__(
        self, plan: Plan, weights: EncodedWeights, observer: Observer | None = None
    ) -> None:
        shares = share_weights(plan, weights, new_seed(), new_seed())
        self.plan = plan
        self.traffic = Traffic()
        self._evaluators = (
            EvaluatorWeights.from_payload(plan, 0, shares[0]),
            EvaluatorWeights.from_payload(plan, 1, shares[1]),
        )
        self._dealer = DealerWeights.from_payload(plan, shares[2])
        self._observer = observer

    def query(self, x: Ring) -> Ring:
        """The outputs at scale 2^32 of encoded inputs at scale 2^16.

        Args:
            x: ring elements, (batch, *input_shape).

        Returns:
            ring elements below 2^48, (batch, *output_shape).

        Raises:
            ValueError: the shape does not fit.
        """
        x0, x1 = split(np.asarray(x, np.uint64))
        with ThreadPoolExecutor(1) as pool:  # a notebook's thread already runs an event loop
            y0, y1 = pool.submit(asyncio.run, self.run(x0, x1)).result()
        return reconstruct(y0, y1)

    async def run(
        self, x0: AdditiveShare, x1: AdditiveShare
    ) -> tuple[AdditiveShare, AdditiveShare]:
        """One run on shares of the inputs; returns the shares that the client would get."""
        batch = x0.values.shape[0]
        keys = [secrets.token_bytes(KEY_BYTES) for _ in range(3)]
        corrections = dict(
            deal(self.plan, self._dealer, batch, self._stream(keys[0]), self._stream(keys[1]))
        )
        self.traffic.corrections += sum(len(part) for part in corrections.values())
        first, second = self._evaluators
        bundle0 = prepare(self.plan, first, batch, self._stream(keys[0]), None)
        bundle1 = prepare(self.plan, second, batch, self._stream(keys[1]), corrections)
        channel0, channel1 = memory_pair(self.traffic)
        r0, r1 = self._stream(keys[2]), self._stream(keys[2])
        y0, y1 = await asyncio.gather(
            evaluate(self.plan, first, bundle0, x0.values, r0, channel0),
            evaluate(self.plan, second, bundle1, x1.values, r1, channel1),
        )
        return AdditiveShare(y0), AdditiveShare(y1)

    def _stream(self, key: bytes) -> Stream:
        return Stream(key, self._observer)
