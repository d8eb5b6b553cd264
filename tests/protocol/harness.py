"""One protocol step among three parties in this process, with any masks one likes."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from libmpc.prg import Stream
from libmpc.protocol import Compute, relu
from libmpc.protocol.purposes import Purpose
from libmpc.runtime import Traffic, memory_pair

MASK = np.uint64(2**48 - 1)
Words = np.ndarray[Any, np.dtype[np.uint64]]


class ConstantStream(Stream):
    """Draws a constant byte: the all-zero and all-one masks."""

    def __init__(self, byte: int) -> None:
        super().__init__(bytes(16))
        self._byte = byte

    def fill(self, layer: int, purpose: int, out: np.ndarray[Any, Any]) -> None:
        out.view(np.uint8)[...] = self._byte


MakeStream = Callable[[int], Stream]


def fresh(seed: int = 0) -> MakeStream:
    """Streams (0: party 0 and dealer, 1: party 1 and dealer) of a test's seed."""
    return lambda party: Stream(bytes([party, seed]) + bytes(14))


def run_relu(
    z: Words,
    lam: Words | None = None,
    make: MakeStream | None = None,
    traffic: Traffic | None = None,
    split: int = 1,
) -> tuple[Words, int]:
    """ReLU and truncation of z (ring elements) under the opening mask λ (random by default).

    Returns the opened results below 2^48, and the correction's length.
    """
    streams = make or fresh()
    count, step = z.size, 5
    if lam is None:
        missing = np.random.default_rng(count).integers(0, 2**64, count, np.uint64)
    else:
        gamma = [streams(j).words(step, Purpose.OPENING, count) for j in (0, 1)]
        missing = gamma[0] + gamma[1] - lam
    correction, mask = relu.deal(step, missing, streams(0), streams(1))
    ends = (streams(0), streams(1))
    prepared = (
        relu.prepare(step, 0, count, ends[0], None),
        relu.prepare(step, 1, count, ends[1], bytes(correction)),
    )
    share0 = np.full(count, 0x0123_4567_89AB_CDEF * split, np.uint64)
    shares = (share0, z - missing - share0)

    async def both() -> list[Words]:
        channels = memory_pair(traffic)
        return await asyncio.gather(
            *(
                relu.evaluate(
                    step,
                    j,
                    shares[j] + relu.draw_opening(step, count, ends[j]),
                    prepared[j],
                    channels[j],
                    Compute(),
                )
                for j in (0, 1)
            )
        )

    m0, m1 = asyncio.run(both())
    assert np.array_equal(m0 & MASK, m1 & MASK)
    return (m0 - mask) & MASK, len(correction)
