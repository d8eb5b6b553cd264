"""A link: one long-lived, sealed, bidirectional connection between two services.

Messages leave from within ``post`` and arrive from within the event loop's call to ``on_data``;
one task sends heartbeats and watches for silence. When something is wrong, the link is over for
good, every waiter wakes, and a new link needs a new handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from libmpc.clock import Clock
from libmpc.failure import describe
from libmpc.link.errors import LinkEndedError, LinkError
from libmpc.link.heartbeat import until_silent
from libmpc.link.kinds import END, HEARTBEAT, MAX_KIND
from libmpc.link.outgoing import Outgoing
from libmpc.link.pulse import Pulse
from libmpc.link.records import Message, Opener, Sealer
from libmpc.link.secrets import LinkSecrets, frame_keys
from libmpc.link.stream import Buffer, ByteStream
from libmpc.link.terms import LinkSettings, LinkTerms, Traffic

logger = logging.getLogger(__name__)

Handler = Callable[[Message], None]
# Shutting down is bounded in real time, whatever clock decides about the peer.
_FLUSH_SECONDS = 0.5


class Link:
    """One end of a link; made by ``connect`` and ``accept`` and given a handler by ``start``.

    Attributes:
        peer: the peer's index; 255 is a gateway.
        peer_triple: the triple that the peer's process belongs to, or that a gateway wanted.
        peer_key: the peer's long-term public key.
        peer_nonce: random bytes of the peer's process, fresh at each of its starts.
        version: major and minor wire version of this link.
        transcript: hash of the handshake, 32 bytes, the same at both ends.
        sent, received: counters.
        error: why the link is over; ``None`` while it lives and after a clean end.
        on_unfinished: told after everything that arrives how many bytes there are of a message
            that has not ended; may ``pause``.
    """

    def __init__(
        self, stream: ByteStream, terms: LinkTerms, clock: Clock, settings: LinkSettings
    ) -> None:
        self.peer = terms.peer.index
        self.peer_triple = terms.peer.triple
        self.peer_key = terms.peer.public_key
        self.peer_nonce = terms.peer.nonce
        self.version = (terms.own.versions.major, terms.minor)
        self.transcript = terms.result.transcript
        self.sent = Traffic()
        self.received = Traffic()
        self.error: LinkError | None = None
        self.on_unfinished: Callable[[int], None] | None = None
        self._local = terms.own.index
        self._secrets = LinkSecrets(terms)
        self._stream = stream
        self._clock = clock
        self._settings = settings
        self._keys = frame_keys(terms)
        self._out = Outgoing(stream, Sealer(self._keys[0]), self.sent)
        self._opener = Opener(self._keys[1], settings.max_message)
        self._early: Buffer = b""
        self._handler: Handler | None = None
        self._on_end: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._pulse = Pulse(settings)
        self._paused = True
        self._over = False
        self._ending = False
        self._closed = asyncio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._over else "open"
        return f"<Link {self._local} to {self.peer}, {state}, {self.transcript.hex()[:8]}>"

    @property
    def rekeys(self) -> int:
        """How often this end has replaced a frame key, in either direction."""
        return sum(key.replaced for key in self._keys)

    # -- secrets of this handshake

    @property
    def stream_secret(self) -> bytes:
        """The secret from which a pair of parties derives its common random streams."""
        self._check_alive()
        return self._secrets.stream()

    @property
    def rerandomise_secret(self) -> bytes:
        """The secret of parties 0 and 1 for re-randomising what leaves for a client."""
        self._check_alive()
        return self._secrets.rerandomise()

    def _check_alive(self) -> None:
        # SECURITY: a link that is over gives nothing out any more: its epoch is over, too.
        if self._over:
            raise self._gone()

    # -- sending

    def post(self, kind: int, bundle: int, step: int, *buffers: Buffer, more: bool = False) -> None:
        """Seal one message and hand it to the network, without waiting.

        The payload is the buffers, joined (contiguous numpy arrays will do); they may be changed
        once this has returned. Messages arrive in the order of the calls. A long one holds up the
        event loop for 0.5 ms per MB. With ``more`` it leaves together with the next one.

        Raises:
            LinkError: the link is over.
        """
        if not 0 <= kind <= MAX_KIND:
            raise ValueError(f"message kinds go from 0 to {MAX_KIND}")
        if not self.alive:
            raise self._gone()
        self._pulse.used = True
        self.sent.payload_bytes += self._out.put(kind, bundle, step, buffers, more=more)
        self.sent.messages += 1

    async def send(self, kind: int, bundle: int, step: int, *buffers: Buffer) -> None:
        """``post``, and wait while more than ``high_water`` bytes are on their way out.

        May be cancelled without harm: a message has been taken whole or not at all.

        Raises:
            LinkError: the link is over.
        """
        self.post(kind, bundle, step, *buffers)
        if self._stream.unsent > self._settings.high_water:
            await self._stream.room(self._settings.high_water)
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
        self._paused = False
        asyncio.get_running_loop().call_soon(self._begin)
        if self._over and on_end is not None:
            on_end()

    def _begin(self) -> None:
        early, self._early = self._early, b""
        if early and not self._over:
            self.on_data(early)
        if not self._paused:
            self._stream.resume()

    def pause(self) -> None:
        """Stop reading, so that a peer that sends too much has to wait; ``resume`` soon."""
        self._paused = True
        self._stream.pause()

    def resume(self) -> None:
        """Read again after ``pause``."""
        if self._paused:
            self._paused = False
            self._pulse.heard = True
            self._stream.resume()

    def on_data(self, chunk: Buffer) -> None:
        """For the stream: bytes of the peer's."""
        if self._over:
            return
        self._pulse.heard = True
        self.received.wire_bytes += len(chunk)
        try:
            for message in self._opener.feed(chunk):
                if message.kind <= MAX_KIND:
                    self.received.messages += 1
                    self.received.payload_bytes += len(message.payload)
                    self._handle(message)
                elif message.kind == END:
                    self._finish(None)
                if self._over:
                    return
            if self.on_unfinished is not None:
                self.on_unfinished(self._opener.unfinished)
        except LinkError as error:
            self._finish(error)

    def on_end(self, error: LinkError | None) -> None:
        """For the stream: nothing more comes. A wanted end is a message, so this is none."""
        self._finish(error or LinkError("the link broke: the stream ended without notice"))

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

    def open(self, confirmation: bytes | None, early: bytes) -> None:
        """Finish the handshake; called once, by ``connect`` and ``accept``.

        Args:
            confirmation: the peer's first record, at the responder; the initiator sends its own.
            early: what has arrived after it.

        Raises:
            LinkError: it is no confirmation.
        """
        if confirmation is not None:
            messages = list(self._opener.feed(confirmation))
            if [message.kind for message in messages] != [HEARTBEAT]:
                raise LinkError("the link broke: no confirmation")
            self.received.wire_bytes += len(confirmation)
        self._early = early
        self._stream.pause()
        self._stream.attach(self)
        if confirmation is None:
            self._out.put(HEARTBEAT, 0, 0)
        self._pulse.used = True
        self._task = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        await until_silent(
            self._pulse,
            self._clock,
            self._stream,
            self._out,
            self._opener,
            reading=lambda: not self._paused,
        )
        reason = f"nothing (whole) from {self.peer} for {self._settings.timeout:g} s or more"
        self._finish(LinkError("the link broke: the peer is silent", reason=reason))

    def _gone(self) -> LinkError:
        if self.error is not None:
            return LinkError(str(self.error), reason=self.error.reason)
        return LinkEndedError("the link has ended")

    def _finish(self, error: LinkError | None) -> None:
        if self._over:
            return
        self._over = True
        self._out.close()
        self.error = error
        if error is not None:
            logger.warning("link %s to %s: %s", self._local, self.peer, error.reason)
        self._secrets.forget()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = asyncio.ensure_future(self._close_stream())
        if self._on_end is not None:
            self._on_end()

    async def _close_stream(self) -> None:
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
        if self.alive:
            self._ending = True
            self._out.put(END, 0, 0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self._stream.room(0)
            self._finish(None)
        await self._closed.wait()
