"""A party's announcement of the key to which clients and owners seal."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from libmpc.wire.document import Document
from libmpc.wire.fields import Hex8, Hex16, Hex32, Millis, Party

MAX_KEY_LIFETIME_MS = 7 * 86_400_000


class PartyKey(Document):
    """A short-lived HPKE key (X25519) of one party; the party signs it with its long-term key."""

    LABEL: ClassVar[str] = "party key"

    deployment: Hex16
    party: Party
    key_id: Hex8
    public_key: Hex32
    not_before_ms: Millis
    not_after_ms: Millis

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not 0 < self.not_after_ms - self.not_before_ms <= MAX_KEY_LIFETIME_MS:
            raise ValueError("the key's lifetime is empty or longer than a week")
        return self
