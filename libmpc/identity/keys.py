"""The long-term keys of parties and gateways, one PEM file (PKCS #8) each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from libmpc.errors import ConfigError
from libmpc.identity.files import read_private, write_private
from libmpc.identity.signing import SigningKey

STATIC_KEY = "static.key"
SIGNING_KEY = "signing.key"


@dataclass(frozen=True, repr=False)
class GatewayIdentity:
    """What a gateway is known by.

    Attributes:
        static: X25519, for the handshake with parties.
    """

    static: X25519PrivateKey

    @property
    def static_public(self) -> bytes:
        """The public half (32 bytes)."""
        return self.static.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Make new keys."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the keys from their directory.

        Raises:
            ConfigError: a file is missing, no such key, or readable by others.
        """
        return cls(_load_static(directory))

    def save(self, directory: Path) -> None:
        """Write the keys into an existing directory."""
        write_private(directory / STATIC_KEY, to_pem(self.static))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.static_public.hex()})"


@dataclass(frozen=True, repr=False)
class PartyIdentity:
    """What a party is known by.

    Attributes:
        static: X25519, for the handshakes with peers and gateways.
        signing: Ed25519, for descriptors, receipts and short-lived keys.
    """

    static: X25519PrivateKey
    signing: SigningKey

    @property
    def static_public(self) -> bytes:
        """The handshake key's public half (32 bytes)."""
        return self.static.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Make new keys."""
        return cls(X25519PrivateKey.generate(), SigningKey.generate())

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read the keys from their directory.

        Raises:
            ConfigError: a file is missing, no such key, or readable by others.
        """
        path = directory / SIGNING_KEY
        key = _load(path, "the key that this party signs with")
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path} is no Ed25519 key; restore it from a backup")
        return cls(_load_static(directory), SigningKey(key))

    def save(self, directory: Path) -> None:
        """Write the keys into an existing directory."""
        write_private(directory / STATIC_KEY, to_pem(self.static))
        write_private(directory / SIGNING_KEY, to_pem(self.signing.private))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.static_public.hex()})"


def to_pem(key: PrivateKeyTypes) -> bytes:
    """PKCS #8, not encrypted: the file's mode protects it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _load_static(directory: Path) -> X25519PrivateKey:
    path = directory / STATIC_KEY
    key = _load(path, "the key for handshakes")
    if not isinstance(key, X25519PrivateKey):
        raise ConfigError(f"{path} is no X25519 key; restore it from a backup")
    return key


def _load(path: Path, what: str) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(read_private(path, what), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"{path} is no private key in PEM; restore it from a backup") from None
