"""A party's share files: each encrypted, with a key record beside it that alone can open it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from libmpc.disk import Buffer, Disk, reason
from libmpc.party.vault import BLOCK_BYTES, DamagedError, Vault, new_data_key

log = logging.getLogger(__name__)

SHARE = ".sealed"
KEY = ".key"
PLAIN = ".share"
"""Of format 1, which encrypted nothing."""
_PART = ".part"


class ShareFiles:
    """Writes, reads and erases. Every method may raise ``OSError``.

    Args:
        directory: of the files; is there.
    """

    def __init__(self, directory: Path, vault: Vault, disk: Disk) -> None:
        self._directory = directory
        self._vault = vault
        self._disk = disk

    def write(self, model: str, digest: bytes, payload: Buffer) -> None:
        """Encrypt and keep a share durably; one that is there is replaced.

        Args:
            digest: SHA-256 of the payload (32 bytes).
        """
        key = new_data_key()
        self._put(self._path(model, KEY), [self._vault.wrap(model, key)])
        self._put(self._path(model, SHARE), self._vault.seal(model, digest, payload, key))

    def read(self, model: str, digest: bytes) -> bytearray:
        """A share.

        Raises:
            DamagedError: the file or its key record is gone, or not as it was written.
            ConfigError: the storage key that it needs is not there.
        """
        key = self._vault.unwrap(model, self._content(model, KEY))
        return self._vault.open(model, digest, self._content(model, SHARE), key)

    def sealed(self, model: str) -> tuple[bytes, Iterator[bytes]]:
        """A share as it lies on the disk: its key record, and its file in blocks, read as asked.

        Raises:
            DamagedError: the key record is gone.
        """
        return self._content(model, KEY), self._disk.read(self._path(model, SHARE), BLOCK_BYTES)

    def unseal(self, model: str, digest: bytes, record: bytes, file: bytes) -> bytearray:
        """What another process of this party has in ``sealed``.

        Raises:
            DamagedError: it is not what it should be.
            ConfigError: the storage key that it needs is not there.
        """
        return self._vault.open(model, digest, file, self._vault.unwrap(model, record))

    def erase(self, model: str) -> None:
        """Destroy the key record, then remove the share; nothing happens if they are gone."""
        # SECURITY: zeros over the key record, in place and flushed. From then on the share file,
        # and every copy of it, is noise even to whoever has the storage key.
        self._shred(self._path(model, KEY))
        self._disk.remove(self._path(model, SHARE))

    def rewrap(self, models: Iterable[str]) -> None:
        """Put every key record under the first storage key.

        Raises:
            ConfigError: a storage key that is still needed is not there.
        """
        for model in models:
            try:
                record = self._content(model, KEY)
                if not self._vault.is_current(record):
                    key = self._vault.unwrap(model, record)
                    self._put(self._path(model, KEY), [self._vault.wrap(model, key)])
            except DamagedError:
                continue  # whoever loads the model will hear of it
            except OSError as error:
                log.warning("a key record stays under its old storage key: %s", reason(error))

    def encrypt_plain(self, model: str, digest: bytes) -> None:
        """Write a share of format 1 in this one; the plain file stays for now."""
        if f"{model}{PLAIN}" in self._disk.names(self._directory):
            plain = b"".join(self._disk.read(self._path(model, PLAIN), BLOCK_BYTES))
            self.write(model, digest, plain)

    def keep_only(self, models: Iterable[str]) -> None:
        """Erase what a crash, or format 1, has left behind."""
        known = {f"{model}{kind}" for model in models for kind in (KEY, SHARE)}
        for name in self._disk.names(self._directory):
            if name in known:
                continue
            if name.endswith((SHARE, SHARE + _PART)):
                self._disk.remove(self._directory / name)
            else:
                self._shred(self._directory / name)

    def _put(self, path: Path, parts: Iterable[Buffer]) -> None:
        part = path.with_name(path.name + _PART)
        try:
            self._disk.write(part, parts)
            self._disk.rename(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.remove(part)  # a full disk needs the room
            raise

    def _shred(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._disk.overwrite(path)
        self._disk.remove(path)

    def _content(self, model: str, kind: str) -> bytes:
        try:
            return b"".join(self._disk.read(self._path(model, kind), BLOCK_BYTES))
        except FileNotFoundError:
            what = "its stored share" if kind == SHARE else "the key record of its share"
            raise DamagedError(what, "missing") from None

    def _path(self, model: str, kind: str) -> Path:
        if len(model) != 64 or not set(model) <= set("0123456789abcdef"):
            raise ValueError("not a model digest")
        return self._directory / f"{model}{kind}"
