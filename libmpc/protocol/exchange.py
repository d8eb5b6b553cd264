"""The seam to the network: an evaluator's protocol steps know nothing else about it."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from libmpc.protocol.errors import ProtocolError

Payload = bytes | bytearray | memoryview
Message = TypeVar("Message", bound=np.unsignedinteger[Any])

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


async def swap(exchange: Exchange, tag: int, message: NDArray[Message]) -> NDArray[Message]:
    """One round in which both messages are arrays of the same length, (n,), of bytes or words.

    Raises:
        ProtocolError: the other evaluator's message has another length.
    """
    received = await exchange(tag, message.view(np.uint8).data)
    if len(received) != message.nbytes:
        raise ProtocolError
    return np.frombuffer(received, message.dtype)
