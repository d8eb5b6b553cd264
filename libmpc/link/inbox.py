"""Messages of a link one by one, for callers without a handler of their own."""

from __future__ import annotations

import asyncio
from collections import deque

from libmpc.link.errors import LinkEndedError, LinkError
from libmpc.link.records import Message
from libmpc.link.session import Link


class Inbox:
    """Starts ``link`` and keeps its messages until they are asked for.

    Args:
        link: a link that has not been started.
        limit: bytes kept before the peer has to wait.
    """

    def __init__(self, link: Link, limit: int = 16 << 20) -> None:
        self._link = link
        self._limit = limit
        self._messages: deque[Message] = deque()
        self._size = 0
        self._change = asyncio.Event()
        link.start(self._put, self._change.set)

    def _put(self, message: Message) -> None:
        self._messages.append(message)
        self._size += len(message.payload)
        if self._size > self._limit:
            self._link.pause()
        self._change.set()

    async def receive(self) -> Message:
        """The next message.

        Raises:
            LinkEndedError: there is none left, and the link was ended on purpose.
            LinkError: there is none left, and the link is broken.
        """
        while not self._messages:
            if not self._link.alive:
                error = self._link.error
                if error is None:
                    raise LinkEndedError("the link has ended")
                raise LinkError(str(error), reason=error.reason)
            self._change.clear()
            await self._change.wait()
        message = self._messages.popleft()
        self._size -= len(message.payload)
        if self._size <= self._limit:
            self._link.resume()
        return message
