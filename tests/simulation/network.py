"""Byte streams between processes, over a network that a schedule can disturb.

A stream behaves as TCP does: bytes arrive in order and once, or the connection breaks. What a
network may do is done to connections: latency, bandwidth, a partition (bytes wait, in one
direction or both), a reset (bytes are lost and both ends are told, each in its own time), a host
that vanishes (nobody is told). Whoever can change bytes on the way may also repeat, reorder or
flip them: see ``tamper``.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from libmpc.link import ByteStream, LinkError
from libmpc.link.stream import Buffer, Sink
from tests.simulation.loop import Process, SimLoop

WINDOW_BYTES = 1 << 16
CONNECT_SECONDS = 3.0
Tamper = Callable[[list[bytes]], list[bytes]]


@dataclass
class Weather:
    """How a network is. Times in seconds, bandwidth in bytes a second."""

    latency: float = 0.001
    jitter: float = 0.002
    bandwidth: float = 1e8
    split: float = 0.05  # how often what is written arrives in two pieces


class Network:
    """All connections.

    Attributes:
        blocked: pairs (from, to) of hosts between which nothing passes now.
        slow: seconds more from one host to another.
    """

    def __init__(self, loop: SimLoop, rng: random.Random, weather: Weather) -> None:
        self.loop = loop
        self.weather = weather
        self.blocked: set[tuple[str, str]] = set()
        self.slow: dict[tuple[str, str], float] = {}
        self.streams: list[SimStream] = []
        self._rng = rng

    def pair(self, one: Process, two: Process) -> tuple[SimStream, SimStream]:
        """A new connection. Each direction has a generator of its own, so that what happens on
        one does not change what happens on another."""
        ends = [SimStream(self, p, random.Random(self._rng.getrandbits(64))) for p in (one, two)]
        ends[0].peer, ends[1].peer = ends[1], ends[0]
        self.streams = [s for s in self.streams if not s.over] + ends
        return ends[0], ends[1]

    def between(self, one: str, two: str) -> list[SimStream]:
        """The live connections of two hosts, by the end at ``one``."""
        return [s for s in self.streams if (s.owner.name, s.peer.owner.name) == (one, two)]

    def block(self, one: str, two: str, *, both: bool) -> None:
        self.blocked.add((one, two))
        if both:
            self.blocked.add((two, one))

    def heal(self) -> None:
        """Everything passes again, in its order."""
        self.blocked.clear()
        self.slow.clear()
        for stream in list(self.streams):
            stream.pump_soon()

    def lose(self, process: Process, *, silent: bool) -> None:
        """A process has died: its host tells the peers, or the host is gone as well."""
        for stream in [s for s in self.streams if s.owner is process]:
            stream.abandon(silent=silent)


@dataclass(eq=False)
class SimStream(ByteStream):
    """One end of a connection."""

    network: Network
    owner: Process
    rng: random.Random
    peer: SimStream = field(init=False)
    closed: bool = False
    tamper: Tamper | None = None
    _sink: Sink | None = None
    _paused: bool = False
    _told: bool = False
    _ended: bool = False  # what follows the queue is the end
    _end_at: float = 0.0
    _error: LinkError | None = None
    _queue: deque[tuple[float, bytes]] = field(default_factory=deque)  # on its way to this end
    _size: int = 0
    _free_at: float = 0.0
    _waiters: list[Callable[[], None]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.closed and self.peer.closed

    # ---- sending

    @property
    def unsent(self) -> int:
        return max(0, self.peer._size - WINDOW_BYTES)

    def write(self, data: Buffer) -> None:
        if self.closed or self.owner.dead or self._error is not None:
            return
        if self.owner.before_write is not None:
            self.owner.before_write(self.peer.owner.name, len(data))
            if self.owner.dead:
                return  # it died of it
        pieces = [bytes(data)]
        if len(data) > 1 and self.rng.random() < self.network.weather.split:
            cut = self.rng.randrange(1, len(data))
            pieces = [pieces[0][:cut], pieces[0][cut:]]
        if self.tamper is not None:
            pieces = self.tamper(pieces)
        for piece in pieces:
            self._send(piece)

    def _send(self, piece: bytes) -> None:
        peer, weather, now = self.peer, self.network.weather, self.network.loop.time()
        if peer.closed or peer._ended:
            return
        self._free_at = max(self._free_at, now) + len(piece) / weather.bandwidth
        delay = weather.latency + self.rng.expovariate(1 / weather.jitter)
        delay += self.network.slow.get((self.owner.name, peer.owner.name), 0.0)
        arrival = self._free_at + delay
        if peer._queue:
            arrival = max(arrival, peer._queue[-1][0])
        peer._queue.append((arrival, piece))
        peer._size += len(piece)
        peer._pump_at(arrival)

    async def room(self, level: int) -> None:
        loop = self.network.loop
        while self.unsent > level and not self.closed and not self.peer.closed:
            future = loop.create_future()
            self._waiters.append(lambda future=future: future.done() or future.set_result(None))
            await future

    # ---- receiving

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        self._told = False
        self.pump_soon()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self.pump_soon()

    def pump_soon(self) -> None:
        self._pump_at(self.network.loop.time())

    def _pump_at(self, when: float) -> None:
        self.network.loop.call_at(when, self._pump, context=self.owner.context)

    def _pump(self) -> None:
        """Give the sink what has arrived by now."""
        way = (self.peer.owner.name, self.owner.name)
        while self._sink is not None and not self._paused and not self.closed:
            if way in self.network.blocked and self._error is None:
                return  # ``heal`` comes back to it
            if self._queue and self._queue[0][0] <= self.network.loop.time():
                _, piece = self._queue.popleft()
                self._size -= len(piece)
                self._wake_sender()
                self._sink.on_data(piece)
            elif self._ended and not self._queue and not self._told and self._is_time:
                self._told = True
                self._sink.on_end(self._error)
            else:
                return

    @property
    def _is_time(self) -> bool:
        return self.network.loop.time() >= self._end_at

    def _wake_sender(self) -> None:
        waiters, self.peer._waiters = self.peer._waiters, []
        for wake in waiters:
            self.network.loop.call_soon(wake, context=self.peer.owner.context)

    # ---- the end

    async def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._queue.clear()
            self._wake_sender()
            self._wake_self()
            self.peer._end(None, self.rng.uniform(0.001, 0.01))

    def _wake_self(self) -> None:
        waiters, self._waiters = self._waiters, []
        for wake in waiters:
            wake()

    def _end(self, error: LinkError | None, delay: float) -> None:
        if self.closed or self._ended:
            return
        self._ended = True
        self._error = error
        when = self.network.loop.time() + delay
        if self._queue:
            when = max(when, self._queue[-1][0])
        self._end_at = when
        self._pump_at(when)

    def reset(self) -> None:
        """The connection breaks: some bytes are lost, and both ends hear of it some time."""
        for end in (self, self.peer):
            keep = end.rng.randrange(len(end._queue) + 1)
            while len(end._queue) > keep:
                end._size -= len(end._queue.pop()[1])
            end._end(LinkError("connection reset"), end.rng.uniform(0, 0.05))

    def abandon(self, *, silent: bool) -> None:
        """The process at this end has died."""
        self.closed = True
        self._queue.clear()
        self._size = 0
        if not silent:
            self.peer._end(LinkError("connection reset"), self.rng.uniform(0, 0.02))
