"""Bounds of a link, what its handshake settled, and its counters."""

from __future__ import annotations

from dataclasses import dataclass

from libmpc.link.hello import Hello
from libmpc.link.noise import HandshakeResult


@dataclass(frozen=True)
class LinkSettings:
    """Bounds of a link.

    Attributes:
        max_message: longest payload accepted, in bytes.
        heartbeat: seconds without anything sent, after which a heartbeat is sent.
        timeout: seconds without anything received, after which the peer counts as dead.
        high_water: bytes waiting to be sent, beyond which ``send`` waits.
    """

    max_message: int = 64 << 20
    heartbeat: float = 1.0
    timeout: float = 3.0
    high_water: int = 4 << 20


@dataclass(frozen=True)
class LinkTerms:
    """What the handshake settled."""

    result: HandshakeResult
    own: Hello
    peer: Hello
    minor: int
    initiator: bool


@dataclass(slots=True)
class Traffic:
    """What has gone one way: messages, payload bytes, and bytes on the stream.

    Heartbeats, the confirmation and the end count as bytes on the stream only; what the handshake
    sent before the first record is not counted.
    """

    messages: int = 0
    payload_bytes: int = 0
    wire_bytes: int = 0
