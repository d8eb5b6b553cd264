"""The deployment file: which three parties, gateways and owners belong together. Public.

It is what everybody pins: whoever can change it can put himself in a party's place. So hand it on
by a way that you trust, and compare ``Deployment.fingerprint`` by another one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)

from libmpc.errors import ConfigError
from libmpc.identity.files import write_public
from libmpc.identity.tls import bundle
from libmpc.identity.yamlfile import dump, read_model
from libmpc.wire.context import context, sha256
from libmpc.wire.fields import Hex16, Hex32, Name, Party, Version

WHAT = "the deployment file"
MAX_TRIPLES = 64
FIELD_PRIME = (1 << 255) - 19

_KEY = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _key(value: object) -> bytes:
    if isinstance(value, bytes) and len(value) == 32:
        return value
    if isinstance(value, str) and _KEY.fullmatch(value):
        return bytes.fromhex(value)
    raise ValueError("a key is 64 lower-case hexadecimal digits")


def _static_key(key: bytes) -> bytes:
    # SECURITY: one key must have one spelling, or two parties could be one organisation; and a
    # point of small order would give everybody the same shared secret.
    if int.from_bytes(key, "little") >= FIELD_PRIME:
        raise ValueError("not the usual spelling of an X25519 key")
    try:
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        raise ValueError("not a usable X25519 key") from None
    return key


def check_url(url: str) -> str:
    """Return ``scheme://host[:port]`` unchanged.

    Raises:
        ValueError: it is not of that form.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("the URL is not valid") from None
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= 300
    if not plain or parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise ValueError("a URL such as https://party0.example.org:8443 is expected")
    if parts.username is not None or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("a URL has a scheme, a host and a port here, and nothing else")
    return url


def _file_name(name: str) -> str:
    if not _FILE_NAME.fullmatch(name):
        raise ValueError("the name of a file beside this one is expected, not a path")
    return name


def check_authorities(pem: str) -> str:
    """Return a PEM bundle of certification authorities unchanged.

    Raises:
        ValueError: it is none.
    """
    try:
        if not bundle(pem):
            raise ValueError
    except ValueError:
        raise ValueError("certificates of authorities in PEM are expected") from None
    return pem


_to_hex = PlainSerializer(bytes.hex, return_type=str, when_used="json")
SigningPublic = Annotated[bytes, PlainValidator(_key), _to_hex]
StaticPublic = Annotated[bytes, PlainValidator(_key), AfterValidator(_static_key), _to_hex]
Url = Annotated[str, AfterValidator(check_url)]
Authorities = Annotated[str, Field(max_length=1 << 19), AfterValidator(check_authorities)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class PartyKeys(_Model):
    """A party's two long-term public keys.

    Attributes:
        static_key: X25519, for handshakes (32 bytes).
        signing_key: Ed25519 (32 bytes).
    """

    static_key: StaticPublic
    signing_key: SigningPublic


class PartyEntry(PartyKeys):
    """One compute party: an organisation, with a process in every triple.

    Attributes:
        url: where gateways and peers reach its process of triple 0.
        more_urls: its processes of triples 1, 2, …, in this order.
        next_keys: accepted as well, while its keys are being replaced; oldest first.
    """

    index: Party
    url: Url
    more_urls: (
        Annotated[tuple[Url, ...], Field(min_length=1, max_length=MAX_TRIPLES - 1)] | None
    ) = None
    next_keys: Annotated[tuple[PartyKeys, ...], Field(min_length=1, max_length=3)] | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it is reached, by triple."""
        return (self.url, *(self.more_urls or ()))

    @property
    def static_keys(self) -> tuple[bytes, ...]:
        """Every handshake key that is accepted, oldest first."""
        return (self.static_key, *(k.static_key for k in self.next_keys or ()))

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Every signing key that is accepted, oldest first."""
        return (self.signing_key, *(k.signing_key for k in self.next_keys or ()))


class GatewayEntry(_Model):
    """One gateway: where clients reach it, and its X25519 key for handshakes with parties."""

    url: Url
    static_key: StaticPublic


class Deployment(_Model):
    """Three parties, their gateways, and who may push models.

    Attributes:
        owners: Ed25519 keys (hex) of those whose models the parties store.
        tls_ca: every organisation's certification authority, PEM.
        credentials: the name of a file beside this one, with an owner's secrets.
        first_id: the id that it had before any key was replaced, and keeps; absent until then.
    """

    version: Version = 1
    name: Name
    first_id: Hex16 | None = None
    parties: tuple[PartyEntry, PartyEntry, PartyEntry]
    gateways: Annotated[tuple[GatewayEntry, ...], Field(min_length=1, max_length=16)]
    owners: Annotated[tuple[Hex32, ...], Field(min_length=1, max_length=256)]
    tls_ca: Authorities
    credentials: Annotated[str, AfterValidator(_file_name)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if [party.index for party in self.parties] != [0, 1, 2]:
            raise ValueError("the parties must be 0, 1 and 2, in this order")
        # SECURITY: two parties in one hand see everything. Equal keys or addresses are the part
        # of that which a file can show.
        static_keys = [key for party in self.parties for key in party.static_keys]
        static_keys += [gateway.static_key for gateway in self.gateways]
        urls = [url for p in self.parties for url in p.urls] + [g.url for g in self.gateways]
        if len({len(party.urls) for party in self.parties}) != 1:
            raise ValueError(
                "every triple needs one process of each party: more_urls of one length"
            )
        _distinct("handshake keys", static_keys)
        _distinct("signing keys", [key for p in self.parties for key in p.signing_keys])
        _distinct("URLs", [url.rstrip("/").lower() for url in urls])
        _distinct("owners", self.owners)
        # Otherwise the id would change in the middle, and with it what everything is signed for.
        if self.first_id is None and any(p.next_keys for p in self.parties):
            raise ValueError("next_keys need first_id, the deployment's id before the replacement")
        return self

    @classmethod
    def from_file(cls, path: Path | str) -> Self:
        """Read a deployment file.

        Raises:
            ConfigError: it is missing, not YAML, of an unknown version, or not consistent.
        """
        return read_model(Path(path), cls, WHAT)

    def to_yaml(self, comment: str = "") -> bytes:
        """The file's content."""
        return dump(self.model_dump(mode="json", exclude_none=True), comment)

    def write(self, path: Path, comment: str = "") -> None:
        """Write the file, by rename."""
        write_public(path, self.to_yaml(comment))

    @property
    def triples(self) -> int:
        """How many processes each party has: the unit of scale is one of each."""
        return len(self.parties[0].urls)

    @property
    def id(self) -> bytes:
        """16 bytes that stand for the name and the three parties' first keys, not for addresses.

        They stay when keys are replaced, since owners, parties and clients sign and seal for them.
        Who may speak for a party never follows from the id: only from the keys in the file.
        """
        if self.first_id is not None:
            return bytes.fromhex(self.first_id)
        keys = [key for p in self.parties for key in (p.static_key, p.signing_key)]
        return sha256(context("deployment", self.name.encode(), *keys))[:16]

    @property
    def fingerprint(self) -> str:
        """For people to compare: the id, the owners, all services' keys and the authorities."""
        fields = [
            self.id,
            b"".join(sorted(bytes.fromhex(owner) for owner in self.owners)),
            b"".join(sorted(gateway.static_key for gateway in self.gateways)),
            b"".join(sorted(sha256(der) for der in bundle(self.tls_ca))),
        ]
        if self.first_id is not None:
            # SECURITY: the id no longer stands for the keys that count now.
            fields += [
                b"".join(keys) for p in self.parties for keys in (p.static_keys, p.signing_keys)
            ]
        text = sha256(context("fingerprint", *fields)).hex()[:32]
        return " ".join(text[i : i + 4] for i in range(0, len(text), 4))

    def check_party(self, index: int, static_key: bytes, signing_key: bytes) -> None:
        """Check, as a party, that this file means us.

        Raises:
            ConfigError: the keys are another party's.
        """
        entry = next((p for p in self.parties if p.index == index), None)
        # Each by itself: a party that was stopped between replacing one and the other can start.
        if (
            entry is None
            or static_key not in entry.static_keys
            or signing_key not in entry.signing_keys
        ):
            raise ConfigError(
                f"the deployment file has other keys for party {index} than this party's own; get "
                "the file that was made from this party's public file, and check 'index'"
            )

    def check_gateway(self, static_key: bytes) -> None:
        """Check, as a gateway, that this file means us.

        Raises:
            ConfigError: no gateway of it has this key.
        """
        if all(gateway.static_key != static_key for gateway in self.gateways):
            raise ConfigError(
                "the deployment file names no gateway with this gateway's key; get the file that "
                "was made together with it"
            )


def _distinct(what: str, values: list[bytes] | list[str] | tuple[str, ...]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(
            f"two {what} are equal; parties must be run by different organisations, each with "
            "keys and an address of its own"
            if what != "owners"
            else "an owner occurs twice"
        )
