"""A party's short-lived keys: new at every start, replaced in time, deleted when they expire."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.identity.signing import SigningKey
from libmpc.sealing.errors import UnknownKeyError
from libmpc.sealing.open import open_sealed
from libmpc.wire.fields import BytesLike
from libmpc.wire.keys import PartyKey
from libmpc.wire.lifetime import to_millis
from libmpc.wire.signed import Signed

if TYPE_CHECKING:
    from libmpc.clock import Clock

LIFETIME_SECONDS = 3600.0


@dataclass(frozen=True)
class HpkeKey:
    """One private key, in memory only, with its announcement as the party signed it."""

    private: X25519PrivateKey = field(repr=False)
    announcement: PartyKey
    signed: Signed = field(repr=False)


class HpkeKeys:
    """The current key and the ones before it that have not expired.

    A key is announced for half its lifetime and opens envelopes for all of it, so that whoever
    has fetched it has time to use it. SECURITY: keys exist in memory only and are deleted at their
    end; what was sealed to them can then be opened by nobody, whatever is stolen later, and an
    envelope from before a restart cannot be played again.

    Thread-safe.
    """

    def __init__(
        self,
        signing: SigningKey,
        deployment: bytes,
        party: int,
        clock: Clock,
        lifetime: float = LIFETIME_SECONDS,
    ) -> None:
        self._signing = signing
        self._deployment = deployment
        self._party = party
        self._clock = clock
        self._lifetime_ms = to_millis(lifetime)
        self._lock = threading.Lock()
        self._keys: list[HpkeKey] = []
        self.tidy()

    def current(self) -> Signed:
        """The announcement to give to clients and owners."""
        with self._lock:
            return self._tidied()[-1].signed

    def open(self, key_id: str, info: bytes, envelope: BytesLike) -> bytes:
        """Open an envelope that is sealed to one of the keys.

        Args:
            key_id: as the envelope's clear header names it (hex).

        Raises:
            UnknownKeyError: no such key, any more or at all.
            SealError: the envelope cannot be opened.
        """
        with self._lock:
            keys = {key.announcement.key_id: key.private for key in self._tidied()}
        private = keys.get(key_id)
        if private is None:
            raise UnknownKeyError("the envelope is sealed to an old key; fetch the new one")
        return open_sealed(private, info, envelope)

    @property
    def age(self) -> float:
        """Seconds since the key that is announced was made."""
        with self._lock:
            made = self._keys[-1].announcement.not_before_ms
        return (to_millis(self._clock.now()) - made) / 1000

    def sign_with(self, signing: SigningKey) -> None:
        """This party signs with another long-term key from now on; its keys stay."""
        with self._lock:
            self._signing = signing
            self._keys = [
                HpkeKey(key.private, key.announcement, signing.sign_document(key.announcement))
                for key in self._keys
            ]

    def tidy(self) -> None:
        """Delete what has expired and make a new key if it is time; call it now and then."""
        with self._lock:
            self._tidied()

    def _tidied(self) -> list[HpkeKey]:
        now = to_millis(self._clock.now())
        # A clock that was set back makes a key's start lie ahead: such a key is not announced.
        self._keys = [key for key in self._keys if now < key.announcement.not_after_ms]
        newest = self._keys[-1].announcement.not_before_ms if self._keys else None
        if newest is None or not newest <= now < newest + self._lifetime_ms // 2:
            self._keys.append(self._new_key(now))
        return self._keys

    def _new_key(self, now: int) -> HpkeKey:
        private = X25519PrivateKey.generate()
        announcement = PartyKey(
            deployment=self._deployment.hex(),
            party=self._party,
            key_id=secrets.token_hex(8),
            public_key=private.public_key().public_bytes_raw().hex(),
            not_before_ms=now,
            not_after_ms=now + self._lifetime_ms,
        )
        return HpkeKey(private, announcement, self._signing.sign_document(announcement))

    def __repr__(self) -> str:
        return f"HpkeKeys(party={self._party})"
