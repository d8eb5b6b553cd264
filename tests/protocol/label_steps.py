"""The steps behind a private label among three parties in this process, with any masks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np

from libmpc.graph.plan.groups import Groups
from libmpc.protocol import Compute, Exchange, lookup, mask, pick, pick_bits, top
from libmpc.protocol.exchange import Payload
from libmpc.runtime.channel import Traffic, memory_pair
from tests.protocol.harness import MASK, STEP, MakeStream, Words, fresh

Halves = tuple[Words, Words]
Evaluate = Callable[[int, Exchange], Coroutine[Any, Any, Words]]


@dataclass
class Sent:
    """A step's transcript.

    Attributes:
        results: both evaluators'.
        correction: from the dealer to party 1.
        messages: by sender, in the order of the rounds.
    """

    results: Halves
    correction: bytes
    messages: tuple[list[bytes], list[bytes]]


def split(values: Words, seed: int = 0) -> Halves:
    """Additive shares."""
    first = np.random.default_rng(seed).integers(0, 2**64, values.shape, np.uint64)
    return first, values - first


def xor_split(bits: Words, seed: int = 0) -> Halves:
    """XOR shares of zeros and ones."""
    first = np.random.default_rng(seed).integers(0, 2, bits.shape, np.uint64)
    return first, bits ^ first


def talk(evaluate: Evaluate, correction: bytearray, traffic: Traffic | None = None) -> Sent:
    """Both evaluators' halves of a step."""
    messages: tuple[list[bytes], list[bytes]] = ([], [])

    async def both() -> list[Words]:
        channels = memory_pair(traffic)

        async def one(j: int) -> Words:
            async def exchange(tag: int, payload: Payload) -> Payload:
                messages[j].append(bytes(payload))
                return await channels[j](tag, payload)

            return await evaluate(j, exchange)

        return await asyncio.gather(one(0), one(1))

    first, second = asyncio.run(both())
    return Sent((first, second), bytes(correction), messages)


def run_mask(
    values: Words, missing: Words, make: MakeStream | None = None, traffic: Traffic | None = None
) -> tuple[Words, Sent]:
    """The values behind the masks, and the transcript."""
    streams = make or fresh()
    count = values.size
    correction = bytearray(mask.cost(count).correction_bytes)
    lam = mask.deal(STEP, missing, streams(0), streams(1), correction)
    prepared = [mask.prepare(STEP, j, count, streams(j), (None, correction)[j]) for j in (0, 1)]
    shares = split(values - missing)
    sent = talk(
        lambda j, exchange: mask.evaluate(STEP, shares[j], prepared[j], exchange, Compute()),
        correction,
        traffic,
    )
    assert np.array_equal(sent.results[0] & MASK, sent.results[1] & MASK)
    assert np.array_equal((prepared[0].mask + prepared[1].mask) & MASK, lam & MASK)
    return (sent.results[0] - lam) & MASK, sent


def run_top(
    groups: Groups,
    values: Words,
    lam: Words,
    make: MakeStream | None = None,
    traffic: Traffic | None = None,
) -> tuple[Words, Sent]:
    """The one-hot bits, (batch, keep · candidates), and the transcript."""
    streams = make or fresh()
    batch = values.size // groups.candidates
    correction = bytearray(top.correction_bytes(groups, batch))
    top.deal(STEP, groups, lam, streams(0), streams(1), correction)
    prepared = [
        top.prepare(STEP, j, groups, batch, streams(j), (None, correction)[j]) for j in (0, 1)
    ]
    m = values + lam
    sent = talk(
        lambda j, exchange: top.evaluate(STEP, j, groups, m, prepared[j], exchange, Compute()),
        correction,
        traffic,
    )
    return (sent.results[0] ^ sent.results[1]).reshape(batch, -1), sent


def run_pick(
    groups: Groups,
    one_hot: Halves,
    values: Words,
    lam: Words,
    make: MakeStream | None = None,
    traffic: Traffic | None = None,
) -> tuple[Words, Sent]:
    """The winners' values, and the transcript."""
    streams = make or fresh()
    own = split(lam, 1)
    batch = values.size // groups.candidates
    correction = bytearray(pick.cost(groups, batch).correction_bytes)
    mask_y = pick.deal(STEP, groups, lam, streams(0), streams(1), correction)
    prepared = [
        pick.prepare(STEP, j, groups, own[j], streams(j), (None, correction)[j]) for j in (0, 1)
    ]
    m = values + lam
    sent = talk(
        lambda j, exchange: pick.evaluate(
            STEP, j, groups, one_hot[j], m, prepared[j], exchange, Compute()
        ),
        correction,
        traffic,
    )
    assert np.array_equal(sent.results[0] & MASK, sent.results[1] & MASK)
    return (sent.results[0] - mask_y) & MASK, sent


def run_pick_bits(
    groups: Groups,
    one_hot: Halves,
    words: Halves,
    width: int,
    make: MakeStream | None = None,
    traffic: Traffic | None = None,
) -> tuple[Words, Sent]:
    """The winners' words, bit by bit, and the transcript."""
    streams = make or fresh()
    batch = words[0].size // (groups.candidates * width)
    correction = bytearray(pick_bits.cost(groups, width, batch).correction_bytes)
    pick_bits.deal(STEP, groups, width, batch, streams(0), streams(1), correction)
    prepared = [
        pick_bits.prepare(STEP, j, groups, width, batch, streams(j), (None, correction)[j])
        for j in (0, 1)
    ]
    sent = talk(
        lambda j, exchange: pick_bits.evaluate(
            STEP, j, groups, one_hot[j], words[j], prepared[j], exchange
        ),
        correction,
        traffic,
    )
    return sent.results[0] ^ sent.results[1], sent


def run_lookup(
    number: Halves,
    width: int,
    places: list[int],
    make: MakeStream | None = None,
    traffic: Traffic | None = None,
) -> tuple[Words, Sent]:
    """[v = k] for every number and place, and the transcript."""
    streams = make or fresh()
    batch = number[0].size // width
    correction = bytearray(lookup.cost(width, batch).correction_bytes)
    lookup.deal(STEP, width, batch, streams(0), streams(1), correction)
    prepared = [
        lookup.prepare(STEP, j, width, batch, streams(j), (None, correction)[j]) for j in (0, 1)
    ]
    sent = talk(
        lambda j, exchange: lookup.evaluate(STEP, number[j], places, prepared[j], exchange),
        correction,
        traffic,
    )
    return (sent.results[0] + sent.results[1]) & MASK, sent
