"""A link: one long-lived, sealed, bidirectional connection between two services.

Three tasks belong to a link: one reads and calls the handler, one sends what ``post`` has sealed,
one sends heartbeats and watches for silence. When one of them finds something wrong, the link is
over for good, every waiter wakes, and a new link needs a new handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from libmpc.clock import Clock
from libmpc.failure import describe
from libmpc.link.errors import LinkEndedError, LinkError
from libmpc.link.hello import PARTIES
from libmpc.link.noise import HandshakeResult
from libmpc.link.outbox import Outbox
from libmpc.link.records import Message, Opener, Sealer
from libmpc.link.stream import Buffer, ByteStream
from libmpc.link.terms import LinkSettings, LinkTerms, Traffic

logger = logging.getLogger(__name__)

Handler = Callable[[Message], None]

MAX_KIND = 253
_HEARTBEAT = 254
_END = 255
# Shutting down is bounded in real time, whatever clock decides about the peer.
_FLUSH_SECONDS = 0.5
_CLOSE_SECONDS = 0.4


class Link:
    """One end of a link; made by ``connect`` and ``accept`` and given a handler by ``start``.

    Attributes:
        peer: the peer's index; 255 is a gateway.
        peer_key: the peer's long-term public key.
        peer_nonce: random bytes of the peer's process, fresh at each of its starts.
        version: major and minor wire version of this link.
        transcript: hash of the handshake, 32 bytes, the same at both ends.
        sent, received: counters.
        error: why the link is over; ``None`` while it lives and after a clean end.
    """

    def __init__(
        self,
        stream: ByteStream,
        terms: LinkTerms,
        clock: Clock,
        settings: LinkSettings,
        early: Buffer = b"",
    ) -> None:
        keys = terms.result.initiator_key, terms.result.responder_key
        own_key, peer_key = keys if terms.initiator else keys[::-1]
        self.peer = terms.peer.index
        self.peer_key = terms.peer.public_key
        self.peer_nonce = terms.peer.nonce
        self.version = (terms.own.versions.major, terms.minor)
        self.transcript = terms.result.transcript
        self.received = Traffic()
        self.error: LinkError | None = None
        self._local = terms.own.index
        self._secrets: HandshakeResult | None = terms.result
        self._stream = stream
        self._clock = clock
        self._settings = settings
        self._outbox = Outbox(stream, Sealer(own_key), settings.high_water)
        self._opener = Opener(peer_key, settings.max_message)
        self._early = early
        self._handler: Handler | None = None
        self._on_end: Callable[[], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = False
        self._over = False
        self._ending = False
        self._resumed = asyncio.Event()
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._over else "open"
        return f"<Link {self._local} to {self.peer}, {state}, {self.transcript.hex()[:8]}>"

    @property
    def sent(self) -> Traffic:
        return self._outbox.traffic

    # -- secrets of this handshake

    @property
    def stream_secret(self) -> bytes:
        """The secret from which a pair of parties derives its common random streams."""
        if self._local not in PARTIES or self.peer not in PARTIES:
            raise LinkError("only parties have common random streams")
        return self._secret(b"stream secret")

    @property
    def rerandomise_secret(self) -> bytes:
        """The secret of parties 0 and 1 for re-randomising what leaves for a client."""
        if {self._local, self.peer} != {0, 1}:
            raise LinkError("only parties 0 and 1 re-randomise")
        return self._secret(b"rerandomise secret")

    def _secret(self, label: bytes) -> bytes:
        # SECURITY: a link that is over gives nothing out any more: its epoch is over, too.
        if self._secrets is None:
            raise self._gone()
        return self._secrets.secret(label)

    # -- sending

    def post(self, kind: int, bundle: int, step: int, *buffers: Buffer) -> None:
        """Seal one message now and send it as soon as possible, without waiting.

        The payload is the buffers, joined (contiguous numpy arrays will do); they may be changed
        once this has returned. Messages arrive in the order of the calls. A long one holds up the
        event loop for 0.5 ms per MB.

        Raises:
            LinkError: the link is over.
        """
        if not 0 <= kind <= MAX_KIND:
            raise ValueError(f"message kinds go from 0 to {MAX_KIND}")
        if self._over or self._ending:
            raise self._gone()
        self.sent.payload_bytes += self._outbox.put(kind, bundle, step, buffers)
        self.sent.messages += 1

    async def send(self, kind: int, bundle: int, step: int, *buffers: Buffer) -> None:
        """``post``, and wait while more than ``high_water`` bytes are on their way out.

        May be cancelled without harm: a message has been taken whole or not at all.

        Raises:
            LinkError: the link is over.
        """
        self.post(kind, bundle, step, *buffers)
        await self._outbox.room()
        if self._over:
            raise self._gone()

    # -- receiving

    def start(self, handler: Handler, on_end: Callable[[], None] | None = None) -> None:
        """Begin to read; until then the peer's messages wait.

        Args:
            handler: called with every message, in order; must not block. An exception in it ends
                the link.
            on_end: called once, when the link is over for whatever reason.
        """
        if self._handler is not None:
            raise RuntimeError("a link has one handler")
        self._handler = handler
        self._on_end = on_end
        self._resumed.set()
        if self._over and on_end is not None:
            on_end()

    def pause(self) -> None:
        """Stop reading, so that a peer that sends too much has to wait; ``resume`` soon."""
        self._resumed.clear()

    def resume(self) -> None:
        """Read again after ``pause``."""
        self._resumed.set()

    async def _read(self) -> None:
        await self._resumed.wait()
        self._take(self._early)
        while True:
            if not self._resumed.is_set():
                await self._resumed.wait()
                self._heard = True
            self._take(await self._chunk())

    async def _chunk(self) -> Buffer:
        chunk = await self._stream.receive()
        if not chunk:
            # A peer that is frozen or killed looks like this, too; a wanted end is a message.
            raise LinkError("the link broke: the stream ended without notice")
        return chunk

    def _take(self, chunk: Buffer) -> None:
        self._heard = True
        self.received.wire_bytes += len(chunk)
        for message in self._opener.feed(chunk):
            if message.kind == _HEARTBEAT:
                continue
            if message.kind == _END:
                raise LinkEndedError("the peer ended the link")
            self.received.messages += 1
            self.received.payload_bytes += len(message.payload)
            self._handle(message)
            if self._over:
                return

    def _handle(self, message: Message) -> None:
        assert self._handler is not None
        try:
            self._handler(message)
        except Exception as error:  # noqa: BLE001 - whatever it is, the link is over
            # Also where it is another link's error: that must not look like this one's end.
            what = describe(error)
            logger.error("link %s to %s: the handler failed: %s", self._local, self.peer, what)
            reason = f"the handler raised {type(error).__name__}"
            raise LinkError("the link broke", reason=reason) from None

    # -- life and death

    async def confirm(self, initiator: bool) -> None:
        """Finish the handshake: the initiator proves with a first record that it has the key.

        Called once, by ``connect`` and ``accept``.
        """
        if initiator:
            self._outbox.put(_HEARTBEAT, 0, 0, ())
        else:
            chunk, self._early = self._early, b""
            while not self._is_confirmation(chunk):
                chunk = await self._chunk()
        for work in (self._read(), self._outbox.run(), self._watch()):
            self._spawn(work)

    def _is_confirmation(self, chunk: Buffer) -> bool:
        self.received.wire_bytes += len(chunk)
        # Closing the iterator keeps what follows the first record for the reader.
        with contextlib.closing(self._opener.feed(chunk)) as messages:
            for message in messages:
                if message.kind != _HEARTBEAT:
                    raise LinkError("the link broke: no confirmation")
                return True
        return False

    async def _watch(self) -> None:
        """Heartbeats, and the end of a peer that is silent.

        Silence is counted in ticks that this process has seen: after its own event loop was
        blocked for long, what the peer sent meanwhile is read before the peer is called dead.
        """
        tick = self._settings.heartbeat / 2
        limit = math.ceil(self._settings.timeout / tick)
        outbox = self._outbox
        silent = idle = 0
        while True:
            await self._clock.sleep(tick)
            idle = 0 if outbox.used or outbox.queued else idle + 1
            silent = 0 if self._heard or not self._resumed.is_set() else silent + 1
            outbox.used = self._heard = False
            if silent >= limit:
                raise LinkError(
                    "the link broke: the peer is silent",
                    reason=f"nothing from {self.peer} for {self._settings.timeout:g} s",
                )
            if idle >= 2:
                outbox.put(_HEARTBEAT, 0, 0, ())
                idle, outbox.used = 0, False

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._track(asyncio.ensure_future(self._guard(work)))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except LinkEndedError:
            self._finish(None)
        except LinkError as error:
            self._finish(error)
        except Exception as error:  # noqa: BLE001 - as above
            logger.error("link %s to %s failed: %s", self._local, self.peer, describe(error))
            self._finish(LinkError("the link broke", reason=type(error).__name__))

    def _gone(self) -> LinkError:
        if self.error is not None:
            return LinkError(str(self.error), reason=self.error.reason)
        return LinkEndedError("the link has ended")

    def _finish(self, error: LinkError | None) -> None:
        if self._over:
            return
        self._over = True
        self.error = error
        if error is not None:
            logger.warning("link %s to %s: %s", self._local, self.peer, error.reason)
        self._secrets = None
        self._outbox.drop()
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._track(asyncio.ensure_future(self._close_stream()))
        if self._on_end is not None:
            self._on_end()

    async def _close_stream(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._stream.close()
        self._closed.set()

    @property
    def alive(self) -> bool:
        """Whether messages can be sent and may arrive."""
        return not self._over and not self._ending

    async def wait_closed(self) -> None:
        """Return when the link is over, for whatever reason; ``error`` says which."""
        await self._closed.wait()

    async def close(self) -> None:
        """End the link on purpose: what was posted leaves first if it can within 0.5 s.

        Idempotent; raises nothing; returns within 1 s.
        """
        if not self._over and not self._ending:
            self._ending = True
            self._outbox.put(_END, 0, 0, ())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._outbox.empty()
            self._finish(None)
        await self._closed.wait()
