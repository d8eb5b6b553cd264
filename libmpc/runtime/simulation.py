"""Three parties in one process, without sockets: for notebooks, tests and measurements."""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import Plan
from libmpc.prg import KEY_BYTES, Observer, Stream
from libmpc.protocol.compute import Compute
from libmpc.protocol.exchange import Payload
from libmpc.protocol.weights import (
    DealerWeights,
    EncodedWeights,
    EvaluatorWeights,
    share_weights,
)
from libmpc.runtime.channel import Traffic, memory_pair
from libmpc.runtime.cost import correction_sizes
from libmpc.runtime.dealer import deal
from libmpc.runtime.estimates import SECONDS_PER_DEALT_BYTE, SECONDS_PER_MAC
from libmpc.runtime.evaluate import evaluate
from libmpc.runtime.preparer import Preparer
from libmpc.runtime.streamed import NextCorrection, StreamedBundle
from libmpc.shares import AdditiveShare, new_seed, reconstruct, split, split_bits

Ring = NDArray[np.uint64]
WINDOW = 64 << 20


class Simulation:
    """Shares a network among three parties in this process and answers queries.

    Args:
        plan: the network.
        weights: encoded weights and biases by linear step.
        observer: told of every draw from a common stream (see ``prg.Stream``).
        window: bytes of prepared randomness that each evaluator holds at most, if one step does
            not need more; nothing holds a whole run's.

    Attributes:
        traffic: rounds and bytes of all queries so far.
    """

    def __init__(
        self,
        plan: Plan,
        weights: EncodedWeights,
        observer: Observer | None = None,
        window: int = WINDOW,
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
        self._window = window

    def query(self, x: Ring, labels: Ring | None = None) -> Ring:
        """The outputs at scale 2^32 of encoded inputs at scale 2^16; of a plan of bits, these.

        Args:
            x: ring elements, (batch, *input_shape).
            labels: bits of the labels, (batch, label_width), for a plan that takes them.

        Returns:
            ring elements below 2^48, (batch, *output_shape).

        Raises:
            ValueError: the shape does not fit.
        """
        x0, x1 = split(np.asarray(x, np.uint64))
        with ThreadPoolExecutor(1) as pool:  # a notebook's thread already runs an event loop
            y0, y1 = pool.submit(asyncio.run, self.run(x0, x1, labels)).result()
        if self.plan.kinds[-1] == "bits":
            return y0.values ^ y1.values
        return reconstruct(y0, y1)

    async def run(
        self, x0: AdditiveShare, x1: AdditiveShare, labels: Ring | None = None
    ) -> tuple[AdditiveShare, AdditiveShare]:
        """One run on shares of the inputs; returns the shares that the client would get."""
        halves = (None, None) if labels is None else split_bits(labels)
        batch = x0.values.shape[0]
        keys = [secrets.token_bytes(KEY_BYTES) for _ in range(3)]
        dealt = self._deal(batch, self._stream(keys[0]), self._stream(keys[1]))
        bundles = [
            StreamedBundle(
                Preparer(self.plan, weights, batch, self._stream(keys[weights.party])),
                window=self._window,
                corrections=dealt if weights.party == 1 else None,
            )
            for weights in self._evaluators
        ]
        ends = memory_pair(self.traffic)
        parties = zip(self._evaluators, bundles, (x0, x1), halves, ends, strict=True)
        runs = (
            evaluate(self.plan, weights, bundle, x.values, self._stream(keys[2]), end, labels=half)
            for weights, bundle, x, half, end in parties
        )
        try:
            y0, y1 = await asyncio.gather(*runs)
        finally:
            await asyncio.gather(*(bundle.aclose() for bundle in bundles))
        return AdditiveShare(y0), AdditiveShare(y1)

    def _deal(self, batch: int, stream0: Stream, stream1: Stream) -> NextCorrection:
        """Party 2, which deals a step when party 1 has room for it."""
        dealt = deal(self.plan, self._dealer, batch, stream0, stream1)
        sizes = correction_sizes(self.plan, batch)
        macs = batch * sum(step.macs for step in self.plan.linear_steps.values())
        seconds = SECONDS_PER_MAC * macs + SECONDS_PER_DEALT_BYTE * sum(sizes.values())
        compute = Compute()

        async def correction(step: int) -> Payload:
            index, payload = await compute.run(seconds / len(sizes), next, dealt)
            if index != step:
                raise RuntimeError(f"expected the correction of step {step}, got that of {index}")
            self.traffic.corrections += len(payload)
            return payload

        return correction

    def _stream(self, key: bytes) -> Stream:
        return Stream(key, self._observer)
