"""Both ends of a streamed bundle's corrections: the dealer's window, and what party 1 waits for.

1. The dealer sends the corrections of a step only while less than a window of bytes is on its way,
   that is, sent and not credited; so one step at least is always on its way.
2. Party 1 prepares steps ahead and credits each when the run has used it.
3. Whoever sees the run end early says so; the dealer answers party 1, and what it had sent before
   is ignored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from libmpc.errors import LibmpcError
from libmpc.protocol import Payload
from libmpc.wire.errors import WireError


class Window:
    """The dealer's end: how much more may be sent.

    Args:
        size: bytes under way, at which the next step waits.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._under_way: dict[int, int] = {}
        self._credited = asyncio.Event()

    @property
    def open(self) -> bool:
        return sum(self._under_way.values()) < self._size

    async def room(self) -> None:
        """Return when less than the window is under way."""
        while not self.open:
            self._credited.clear()
            await self._credited.wait()

    def sent(self, step: int, size: int) -> None:
        """Count a step's corrections."""
        self._under_way[step] = size

    def credit(self, step: int) -> None:
        """Party 1 has used a step.

        Raises:
            WireError: the step is not under way.
        """
        if self._under_way.pop(step, None) is None:
            raise WireError("a credit for what is not under way")
        self._credited.set()


class Corrections:
    """Party 1's end: hands out each step's correction once, waiting until it has come.

    Args:
        expected: bytes by step, in the plan's order.
    """

    def __init__(self, expected: Mapping[int, int]) -> None:
        self.expected = expected
        self._coming = iter(expected.items())
        self._received: dict[int, Payload] = {}
        self._arrived = asyncio.Event()
        self._error: LibmpcError | None = None

    def receive(self, step: int, payload: Payload) -> None:
        """Take the next step's correction.

        Raises:
            WireError: it is another one, or has another length.
        """
        if next(self._coming, None) != (step, len(payload)):
            raise WireError("an unexpected correction")
        self._received[step] = payload
        self._arrived.set()

    async def __call__(self, step: int) -> Payload:
        """The correction of a step, once; whoever runs the bundle limits the time.

        Raises:
            LibmpcError: what ``end`` was given.
        """
        while step not in self._received:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        return self._received.pop(step)

    def end(self, error: LibmpcError) -> None:
        """Drop what is here; who waits, now or later, gets ``error``."""
        self._error = error
        self._received.clear()
        self._arrived.set()
