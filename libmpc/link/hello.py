"""What both ends of a link say in clear before the handshake that makes it true.

Frame on the stream: length (u16) | body. Body::

    magic "LMPC" | major u8 | lowest minor u8 | highest minor u8 | index u8 |
    static public key (32) | start nonce (16) | deployment length u8 | deployment (16..32) | rest

The first byte of ``rest`` is a triple: the one that a party's process belongs to, or that a gateway
wants to reach. Where there is none it is 0; parties of before there were triples ignore it. What
follows is for later minor versions and ignored here. Like everything else in a hello it is bound
into the handshake, so that a changed hello fails there.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.errors import ConfigError

GATEWAY = 255
PARTIES = (0, 1, 2)
MAX_TRIPLE = 255
MAX_FRAME_BYTES = 512
#: the minor version from which on frame keys are replaced now and then
REKEYS_SINCE = 1
#: the minor version from which on a gateway may name a query's trace to an evaluator
TRACES_SINCE = 2
_MAGIC = b"LMPC"
_HEAD = struct.Struct(">4sBBBB32s16sB")
_PROLOGUE = b"libmpc link"


class HelloError(Exception):
    """A hello that cannot be accepted; the text is for the local log."""


@dataclass(frozen=True)
class WireVersions:
    """The versions that one end speaks: one major, and a span of minors."""

    major: int = 1
    lowest: int = 0
    highest: int = TRACES_SINCE

    def common(self, other: WireVersions) -> int:
        """The highest minor that both speak.

        Raises:
            HelloError: there is none.
        """
        minor = min(self.highest, other.highest)
        if self.major != other.major or minor < max(self.lowest, other.lowest):
            raise HelloError(f"no common wire version: we speak {self}, the peer {other}")
        return minor

    def __str__(self) -> str:
        return f"{self.major}.{self.lowest} to {self.major}.{self.highest}"


@dataclass(frozen=True)
class LocalIdentity:
    """This end of all its links.

    Attributes:
        index: 0, 1 or 2 for a party, ``GATEWAY`` for a gateway.
        private_key: the long-term X25519 key that the deployment pins.
        deployment: the deployment's id, 16 to 32 bytes.
        nonce: 16 random bytes, fresh at every start of the process.
        triple: which of its party's processes this is; a gateway says whichever it wants.
    """

    index: int
    private_key: X25519PrivateKey = field(repr=False)
    deployment: bytes
    nonce: bytes = field(default_factory=lambda: os.urandom(16))
    versions: WireVersions = WireVersions()
    triple: int = 0

    def __post_init__(self) -> None:
        if self.index not in (*PARTIES, GATEWAY):
            raise ConfigError(f"no party has index {self.index}; use 0, 1 or 2")
        _check_triple(self.triple)
        if not 16 <= len(self.deployment) <= 32 or len(self.nonce) != 16:
            raise ConfigError("a deployment id has 16 to 32 bytes, a start nonce 16")

    @property
    def public_key(self) -> bytes:
        return self.private_key.public_key().public_bytes_raw()

    def hello(self, wanted: int | None = None) -> Hello:
        """What to say, as an initiator to a peer of that triple."""
        # A gateway belongs to none, and says where it wants to go.
        triple = wanted if wanted is not None and self.index == GATEWAY else self.triple
        versions, key = self.versions, self.public_key
        return Hello(versions, self.index, key, self.nonce, self.deployment, triple)


@dataclass(frozen=True)
class RemoteIdentity:
    """Whom we want at the other end.

    Attributes:
        index: 0, 1 or 2 for a party, ``GATEWAY`` for a gateway.
        public_key: its long-term X25519 key (32 bytes).
        next_keys: others that will do as well, while that one is being replaced.
        triple: which of the party's processes.
    """

    index: int
    public_key: bytes
    next_keys: tuple[bytes, ...] = ()
    triple: int = 0

    def __post_init__(self) -> None:
        if self.index not in (*PARTIES, GATEWAY) or any(len(key) != 32 for key in self.keys):
            raise ConfigError("a peer is a party 0, 1, 2 or a gateway, and its public key 32 bytes")
        _check_triple(self.triple)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Every key that will do."""
        return (self.public_key, *self.next_keys)


@dataclass(frozen=True)
class Hello:
    """One end's claim, true only once the handshake has succeeded."""

    versions: WireVersions
    index: int
    public_key: bytes
    nonce: bytes
    deployment: bytes
    triple: int = 0

    def encode(self) -> bytes:
        v = self.versions
        head = _HEAD.pack(
            _MAGIC,
            v.major,
            v.lowest,
            v.highest,
            self.index,
            self.public_key,
            self.nonce,
            len(self.deployment),
        )
        return head + self.deployment + (bytes((self.triple,)) if self.triple else b"")

    @classmethod
    def parse(cls, body: bytes) -> Hello:
        """Read a hello.

        Raises:
            HelloError: it is none.
        """
        if body[:4] != _MAGIC:
            raise HelloError("the peer does not speak this protocol")
        if len(body) < _HEAD.size or len(body) > MAX_FRAME_BYTES:
            raise HelloError("hello of a wrong length")
        _, major, lowest, highest, index, public_key, nonce, size = _HEAD.unpack_from(body)
        deployment = body[_HEAD.size : _HEAD.size + size]
        if not 16 <= size <= 32 or len(deployment) != size:
            raise HelloError("deployment id of a wrong length")
        if index not in (*PARTIES, GATEWAY):
            raise HelloError(f"unknown index {index}")
        versions = WireVersions(major, lowest, highest)
        rest = body[_HEAD.size + size :]
        triple = rest[0] if rest else 0
        return cls(versions, index, public_key, nonce, deployment, triple)


def may_initiate(initiator: int, responder: int, triples: tuple[int, int] = (0, 0)) -> bool:
    """Whether this index opens links to that one.

    Within a triple the lower to the higher, and gateways to parties; from triple to triple only a
    party to its own process of triple 0, whose shares it mirrors.

    Args:
        triples: the initiator's, as in its hello, and the responder's.
    """
    if responder not in PARTIES:
        return False
    ours, theirs = triples
    # SECURITY: nothing but the triple's own two peers: secrets of links, pools and replay tables
    # are each triple's own.
    if initiator == responder:
        return ours > 0 and theirs == 0
    return ours == theirs and (initiator == GATEWAY or initiator < responder)


def _check_triple(triple: int) -> None:
    if not 0 <= triple <= MAX_TRIPLE:
        raise ConfigError(f"triples go from 0 to {MAX_TRIPLE}")


def prologue(initiator: bytes, responder: bytes, minor: int) -> bytes:
    """What the handshake binds: product, negotiated version, and both hellos as they were sent.

    SECURITY: a hello contains index, static key, start nonce, deployment and all versions that
    its sender speaks, so whoever edits one in transit, to force an old version for instance,
    makes the handshake fail.
    """
    first, second = Hello.parse(initiator), Hello.parse(responder)
    fields = (
        _PROLOGUE,
        bytes((first.versions.major, minor)),
        initiator,
        responder,
        bytes((first.index, second.index)),
        first.public_key,
        second.public_key,
    )
    return b"".join(len(f).to_bytes(4, "big") + f for f in fields)
