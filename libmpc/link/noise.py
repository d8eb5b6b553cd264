"""The handshake Noise_KK_25519_AESGCM_SHA256, and nothing else of the Noise framework.

Both sides know each other's static key beforehand::

    -> s
    <- s
    ...
    -> e, es, ss
    <- e, ee, se

Source: T. Perrin, The Noise Protocol Framework, revision 34 (noiseprotocol.org/noise.html);
names of variables and functions as there.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from libmpc.link.stream import Buffer

PROTOCOL_NAME = b"Noise_KK_25519_AESGCM_SHA256"
KEY_BYTES = 32
TAG_BYTES = 16
MESSAGE_BYTES = KEY_BYTES + TAG_BYTES  # of a handshake message with an empty payload
_NO_NONCE = (1 << 64) - 1


class NoiseError(Exception):
    """The peer's handshake message is not what the holder of the expected key would send."""


def nonce_bytes(counter: int) -> bytes:
    """The 12-byte AES-GCM nonce for message number ``counter`` (Noise, section 12.4)."""
    return counter.to_bytes(12, "big")


def hkdf(chaining_key: bytes, material: bytes) -> tuple[bytes, bytes]:
    """Noise's two-output HKDF (section 4.3)."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")


class CipherState:
    """A key with a counter as its nonce."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._counter = 0

    def encrypt(self, associated: bytes, plaintext: Buffer) -> bytes:
        return self._aead.encrypt(self._next(), plaintext, associated)

    def decrypt(self, associated: bytes, ciphertext: Buffer) -> bytes:
        try:
            return self._aead.decrypt(self._next(), ciphertext, associated)
        except InvalidTag:
            raise NoiseError("wrong tag") from None

    def _next(self) -> bytes:
        # SECURITY: a nonce that is used twice under one key gives that key's authenticator away.
        if self._counter >= _NO_NONCE:
            raise NoiseError("nonces used up")
        nonce = nonce_bytes(self._counter)
        self._counter += 1
        return nonce


class SymmetricState:
    """The chaining key, the running hash, and the cipher once there is a key."""

    def __init__(self) -> None:
        self._hash = PROTOCOL_NAME.ljust(32, b"\0")
        self._chaining_key = self._hash
        self._cipher: CipherState | None = None

    def mix_key(self, material: bytes) -> None:
        self._chaining_key, key = hkdf(self._chaining_key, material)
        self._cipher = CipherState(key)

    def mix_hash(self, data: bytes) -> None:
        self._hash = hashlib.sha256(self._hash + data).digest()

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        data = self._cipher.encrypt(self._hash, plaintext) if self._cipher else plaintext
        self.mix_hash(data)
        return data

    def decrypt_and_hash(self, data: bytes) -> bytes:
        plaintext = self._cipher.decrypt(self._hash, data) if self._cipher else data
        self.mix_hash(data)
        return plaintext

    def split(self) -> HandshakeResult:
        """The end of the handshake (section 5.2)."""
        initiator_key, responder_key = hkdf(self._chaining_key, b"")
        return HandshakeResult(self._hash, initiator_key, responder_key, self._chaining_key)


@dataclass(frozen=True)
class HandshakeResult:
    """What both sides have in common afterwards.

    Attributes:
        transcript: the handshake hash, 32 bytes; not a secret.
        initiator_key: AES-256-GCM key for what the initiator sends.
        responder_key: AES-256-GCM key for what the responder sends.
    """

    transcript: bytes
    initiator_key: bytes = field(repr=False)
    responder_key: bytes = field(repr=False)
    _chaining_key: bytes = field(repr=False)

    def secret(self, label: bytes) -> bytes:
        """32 more secret bytes, independent of the two keys and of other labels'.

        HKDF-SHA256 with the transcript as salt: the two keys above come from
        HMAC(chaining key, empty), which is another function of the chaining key.
        """
        extracted = hmac.digest(self.transcript, self._chaining_key, "sha256")
        return hmac.digest(extracted, b"libmpc link " + label + b"\x01", "sha256")


class HandshakeState:
    """One side of one handshake; each of its two messages is written or read once, in order.

    Args:
        initiator: whether this side sends first.
        prologue: what both sides must agree on without sending it here.
        static: this side's long-term key.
        remote_static: the peer's long-term public key, 32 bytes.
        ephemeral: only for known-answer tests; otherwise fresh.
    """

    def __init__(
        self,
        *,
        initiator: bool,
        prologue: bytes,
        static: X25519PrivateKey,
        remote_static: bytes,
        ephemeral: X25519PrivateKey | None = None,
    ) -> None:
        self._initiator = initiator
        self._static = static
        self._ephemeral = ephemeral or X25519PrivateKey.generate()
        self._remote_static = X25519PublicKey.from_public_bytes(remote_static)
        self._remote_ephemeral: X25519PublicKey | None = None
        self._symmetric = SymmetricState()
        self._steps = 0
        own = static.public_key().public_bytes_raw()
        self._symmetric.mix_hash(prologue)
        for key in (own, remote_static) if initiator else (remote_static, own):
            self._symmetric.mix_hash(key)

    def write_message(self, payload: bytes = b"") -> bytes:
        """This side's message: the ephemeral key, and ``payload`` sealed."""
        self._step(writing=True)
        ephemeral = self._ephemeral.public_key().public_bytes_raw()
        self._symmetric.mix_hash(ephemeral)
        self._mix_keys()
        return ephemeral + self._symmetric.encrypt_and_hash(payload)

    def read_message(self, message: bytes) -> bytes:
        """Check the peer's message and return its payload.

        Raises:
            NoiseError: it was not made by the holder of the expected static key, for this
                prologue and this handshake.
        """
        self._step(writing=False)
        if len(message) < MESSAGE_BYTES:
            raise NoiseError("short handshake message")
        ephemeral = message[:KEY_BYTES]
        self._remote_ephemeral = X25519PublicKey.from_public_bytes(ephemeral)
        self._symmetric.mix_hash(ephemeral)
        self._mix_keys()
        return self._symmetric.decrypt_and_hash(message[KEY_BYTES:])

    def split(self) -> HandshakeResult:
        """The keys, after both messages."""
        if self._steps != 2:
            raise NoiseError("the handshake has not finished")
        self._steps += 1
        return self._symmetric.split()

    def _step(self, *, writing: bool) -> None:
        if self._steps > 1 or writing != (self._initiator == (self._steps == 0)):
            raise NoiseError("handshake message out of turn")
        self._steps += 1

    def _mix_keys(self) -> None:
        try:
            if self._steps == 1:  # es, ss
                self._mix_dh(static=not self._initiator, remote_static=self._initiator)
                self._mix_dh(static=True, remote_static=True)
            else:  # ee, se
                self._mix_dh(static=False, remote_static=False)
                self._mix_dh(static=self._initiator, remote_static=not self._initiator)
        except ValueError:  # an all-zero result: the peer's key has a low order
            raise NoiseError("degenerate key") from None

    def _mix_dh(self, *, static: bool, remote_static: bool) -> None:
        own = self._static if static else self._ephemeral
        remote = self._remote_static if remote_static else self._remote_ephemeral
        if remote is None:
            raise NoiseError("handshake message out of turn")
        self._symmetric.mix_key(own.exchange(remote))
