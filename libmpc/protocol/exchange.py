"""The seam to the network: an evaluator's protocol steps know nothing else about it."""

from __future__ import annotations

from typing import Protocol

from libmpc.protocol.errors import ProtocolError

Payload = bytes | bytearray | memoryview

_ROUNDS_PER_STEP = 8


class Exchange(Protocol):
    """Sends our message of a round, and returns the other evaluator's message of that round.

    Tags rise strictly in one run; messages of equal tags belong together. The payload is not
    changed after the call.
    """

    async def __call__(self, tag: int, payload: Payload) -> Payload: ...


def round_tag(step: int, round_in_step: int) -> int:
    """The tag of one round: the step's index in the plan times 8 plus the round (0 to 3)."""
    return step * _ROUNDS_PER_STEP + round_in_step


async def swap(exchange: Exchange, tag: int, payload: Payload) -> Payload:
    """One round in which both messages have the same length.

    Raises:
        ProtocolError: the other evaluator's message has another length.
    """
    received = await exchange(tag, payload)
    if len(received) != len(payload):
        raise ProtocolError
    return received
