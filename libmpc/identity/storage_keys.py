"""The keys that a party's stored shares are encrypted under: an ordered list, the first in use.

A key file has one key a line, 64 hexadecimal digits; what follows ``#`` is ignored. The first key
encrypts; all of them decrypt, so that a new one can be put in front and the old one taken out
when nothing needs it any more. In the environment the keys stand on one line, with commas.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libmpc.errors import ConfigError
from libmpc.identity.files import read_private, write_private
from libmpc.wire.context import context

STORAGE_KEY = "storage.key"
NEWEST = "newest"
"""A file that a party with encrypted data has among them."""
KEY_BYTES = 32
KEY_ID_BYTES = 8
MAX_KEYS = 64
MAGIC_BYTES = 8
"""Whatever depends on a storage key begins with so many bytes that say what it is, and its id."""

_WHAT = "the keys for stored shares"
_LINE = re.compile(r"[0-9a-f]{64}")
_HEAD = "One key a line. The first encrypts stored shares, all decrypt. Secret: whoever has a key"
_TAIL = "and this party's data has its shares. Without it the data are worth nothing."


@dataclass(frozen=True)
class StorageKey:
    """One key of 32 random bytes; what is used are keys derived from it, one for each purpose."""

    secret: bytes = field(repr=False)
    _derived: dict[str, bytes] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ConfigError(f"a key for stored shares has {KEY_BYTES} bytes")

    @classmethod
    def generate(cls) -> StorageKey:
        """A new key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def id(self) -> bytes:
        """8 bytes that name the key and say nothing about it."""
        return self.derive("storage key id")[:KEY_ID_BYTES]

    def derive(self, purpose: str) -> bytes:
        """The key for one purpose (32 bytes; HKDF-SHA256)."""
        if purpose not in self._derived:  # every count that is stored asks
            kdf = HKDF(hashes.SHA256(), KEY_BYTES, None, context(purpose))
            self._derived[purpose] = kdf.derive(self.secret)
        return self._derived[purpose]


class StorageKeys:
    """The list, at least one key long.

    Raises:
        ConfigError: no key, a key twice, or more than 64.
    """

    def __init__(self, keys: Sequence[StorageKey]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise ConfigError(f"{_WHAT}: 1 to {MAX_KEYS} of them are expected")
        self._keys = {key.id: key for key in keys}
        if len(self._keys) != len(keys):
            raise ConfigError(f"{_WHAT}: one of them occurs twice")

    @property
    def first(self) -> StorageKey:
        """The one that encrypts."""
        return next(iter(self._keys.values()))

    def find(self, key_id: bytes) -> StorageKey:
        """The key of that id.

        Raises:
            ConfigError: it is not in the list.
        """
        if key_id not in self._keys:
            raise ConfigError(
                f"the data need the storage key {key_id.hex()}, which this party was not given; "
                f"put it back below the first one in {STORAGE_KEY}"
            )
        return self._keys[key_id]

    def __iter__(self) -> Iterator[StorageKey]:
        return iter(self._keys.values())

    def __repr__(self) -> str:
        return f"StorageKeys({', '.join(key_id.hex() for key_id in self._keys)})"

    @classmethod
    def parse(cls, text: str, where: str) -> StorageKeys:
        """Read keys that are separated by line ends or commas.

        Raises:
            ConfigError: something else stands there; it is not repeated.
        """
        lines = [line.partition("#")[0] for line in text.splitlines()]
        found = [key.strip() for line in lines for key in line.split(",") if key.strip()]
        if not all(_LINE.fullmatch(line) for line in found):
            raise ConfigError(f"{where}: a key is 64 lower-case hexadecimal digits")
        try:
            return cls([StorageKey(bytes.fromhex(line)) for line in found])
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    @classmethod
    def from_file(cls, path: Path) -> StorageKeys:
        """Read a key file.

        Raises:
            ConfigError: missing, open to others, or not a key file.
        """
        if not path.exists():
            raise ConfigError(
                f"there is no {path} ({_WHAT}). If this party has encrypted data, bring the file "
                "back from a backup. A party of before there were such keys gets one with "
                "'libmpc storage-key --new --config party.yaml', and encrypts what it has at its "
                "next start"
            )
        try:
            text = read_private(path, _WHAT).decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is no key file; bring it back from a backup") from None
        return cls.parse(text, str(path))

    def write(self, path: Path) -> None:
        """Write the key file, by rename, readable by its owner only."""
        lines = [f"# {_HEAD}", f"# {_TAIL}"]
        lines += [f"{key.secret.hex()}  # {key.id.hex()}" for key in self]
        write_private(path, "".join(f"{line}\n" for line in lines).encode())

    def with_new(self) -> StorageKeys:
        """The same with a new key in front."""
        return StorageKeys([StorageKey.generate(), *self])

    def without_old(self) -> StorageKeys:
        """The first key alone."""
        return StorageKeys([self.first])

    def drop_old(self, used: Collection[bytes]) -> StorageKeys:
        """The first key alone, if of all keys only that one is in use.

        Raises:
            ConfigError: something still needs another one, or nothing is under the first yet.
        """
        old = sorted(key_id.hex() for key_id in used if key_id != self.first.id)
        if old or not used:
            raise ConfigError(
                f"the data still need {' and '.join(old) or 'the old keys'}; restart the party,"
                " which encrypts them under the first key, and try again"
            )
        return self.without_old()


def used_key_ids(data: Path) -> set[bytes]:
    """The ids of the storage keys that a party's data depend on.

    Raises:
        ConfigError: the data cannot be read.
    """
    found = set()
    try:
        shares = sorted((data / "shares").glob("*.key")) if (data / "shares").exists() else []
        for path in [*shares, *data.glob(NEWEST)]:
            with path.open("rb") as file:
                head = file.read(MAGIC_BYTES + KEY_ID_BYTES)
            if len(head) == MAGIC_BYTES + KEY_ID_BYTES and any(head):
                found.add(head[MAGIC_BYTES:])
    except OSError as error:
        raise ConfigError(f"cannot read {data}: {error.strerror}") from None
    return found


def new_storage_keys() -> StorageKeys:
    """A list of one new key."""
    return StorageKeys([StorageKey.generate()])
