"""One comparing step among three parties in this process, with any masks one likes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from libmpc.prg import Stream
from libmpc.protocol import Compute, opening, positive, rectify, relu, truncate
from libmpc.protocol.exchange import Payload
from libmpc.runtime.channel import Traffic, memory_pair

STEP = 5
MASK = np.uint64(2**48 - 1)
Words = np.ndarray[Any, np.dtype[np.uint64]]
MakeStream = Callable[[int], Stream]
OPENING = (relu, truncate)
MASKED = (rectify, positive)


class ConstantStream(Stream):
    """Draws a constant byte: the all-zero and all-one masks."""

    def __init__(self, byte: int) -> None:
        super().__init__(bytes(16))
        self._byte = byte

    def fill(self, layer: int, purpose: int, out: np.ndarray[Any, Any]) -> None:
        out.view(np.uint8)[...] = self._byte


def fresh(seed: int = 0) -> MakeStream:
    """Streams (0: party 0 and dealer, 1: party 1 and dealer) of a test's seed."""
    return lambda party: Stream(bytes([party, seed]) + bytes(14))


def words(values: Any) -> Words:
    """Integers modulo 2^64."""
    return np.array([int(v) % 2**64 for v in values], np.uint64)


@dataclass
class Transcript:
    """What went where.

    Attributes:
        result: the opened results below 2^48.
        correction: from the dealer to party 1.
        messages: by sender, in the order of the rounds.
    """

    result: Words
    correction: bytes
    messages: tuple[list[bytes], list[bytes]] = field(default_factory=lambda: ([], []))


def run(
    step: ModuleType,
    value: Words,
    lam: Words | None = None,
    make: MakeStream | None = None,
    *,
    first: Words | None = None,
    missing: Words | None = None,
    traffic: Traffic | None = None,
) -> Transcript:
    """One step on ring elements under the mask λ (random by default).

    Args:
        step: ``relu``, ``truncate``, ``rectify`` or ``positive``.
        first: party 0's share of the values, or of the mask where they are masked.
        missing: in place of λ, what only the dealer knows of a value that is to be opened.
    """
    streams = make or fresh()
    count = value.size
    if lam is None:
        lam = np.random.default_rng(count).integers(0, 2**64, count, np.uint64)
    if first is None:
        first = np.full(count, 0x0123_4567_89AB_CDEF, np.uint64)
    ends = (streams(0), streams(1))
    correction = bytearray(step.cost(count).correction_bytes)
    given: tuple[Words, Words]
    if step in OPENING:
        gammas = [opening.draw(STEP, count, streams(j)) for j in (0, 1)]
        if missing is None:
            missing = gammas[0] + gammas[1] - lam
        mask = step.deal(STEP, missing, streams(0), streams(1), correction)
        given = (first + gammas[0], value - missing - first + gammas[1])
        sources: tuple[Any, Any] = (count, count)
    else:
        mask = step.deal(STEP, lam, streams(0), streams(1), correction)
        given = (value + lam, value + lam)
        sources = (first, lam - first) if step is rectify else (count, count)
    corrections = (None, bytes(correction))
    prepared = [step.prepare(STEP, j, sources[j], ends[j], corrections[j]) for j in (0, 1)]
    transcript = Transcript(value, bytes(correction))

    async def both() -> list[Words]:
        channels = memory_pair(traffic)

        async def evaluate(j: int) -> Words:
            async def exchange(tag: int, payload: Payload) -> Payload:
                transcript.messages[j].append(bytes(payload))
                return await channels[j](tag, payload)

            result: Words = await step.evaluate(STEP, j, given[j], prepared[j], exchange, Compute())
            return result

        return await asyncio.gather(evaluate(0), evaluate(1))

    m0, m1 = asyncio.run(both())
    assert np.array_equal(m0 & MASK, m1 & MASK)
    transcript.result = (m0 - mask) & MASK
    return transcript
