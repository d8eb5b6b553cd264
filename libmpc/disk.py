"""The seam to the file system: every step after which something has changed for good.

A party's store touches files through a ``Disk`` only, so that a test can stop it before and after
each durable step, refuse one as a full disk would, or keep everything in memory.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

Buffer = bytes | bytearray | memoryview


class Disk(Protocol):
    """Files and one database. A method that changes something is one durable step: what it did
    survives ``kill -9`` and a loss of power once it has returned, and is done wholly, not at all,
    or (``write``, ``overwrite``) leaves a file that a reader can tell from a finished one.

    Raises, from every method:
        OSError: the file system refuses: full, read-only, gone, not allowed.
        sqlite3.Error: the database does.
    """

    def make_directory(self, path: Path) -> None:
        """Make a private directory, with those above it, unless it is there."""

    def names(self, directory: Path) -> list[str]:
        """The files in a directory, sorted."""

    def read(self, path: Path, size: int) -> Iterator[bytes]:
        """A file's content in blocks of ``size`` bytes; the last one may be shorter."""

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        """Write a private file, in place of one that is there."""

    def overwrite(self, path: Path) -> None:
        """Put zeros where a file's content is, in the same blocks of the file."""

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of a file that has it."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def note(self, path: Path, data: bytes) -> None:
        """Put bytes at a file's begin without waiting for the disk: not a durable step. They
        survive ``kill -9``; a loss of power may undo them.
        """

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open a database in autocommit mode; only ``commit`` ends a transaction."""

    def commit(self, db: sqlite3.Connection) -> None:
        """End a transaction for good."""


class FileDisk:
    """The machine's own disk."""

    def flush_file(self, file: IO[bytes], path: Path) -> None:
        """Wait until a file's content is on the disk."""
        file.flush()
        os.fsync(file.fileno())

    def flush_directory(self, path: Path) -> None:
        """Wait until the names in a directory are on the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directory(self, path: Path) -> None:
        if path.is_dir():
            return
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.flush_directory(path.parent)

    def names(self, directory: Path) -> list[str]:
        return sorted(os.listdir(directory))

    def read(self, path: Path, size: int) -> Iterator[bytes]:
        with path.open("rb", buffering=0) as file:
            while block := _read_full(file.fileno(), size):
                yield block

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        # SECURITY: private from the first moment; a chmod afterwards would leave a gap.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for part in parts:
                file.write(part)
            self.flush_file(file, path)
        self.flush_directory(path.parent)

    def overwrite(self, path: Path) -> None:
        with path.open("r+b") as file:
            left = os.fstat(file.fileno()).st_size
            while left:
                left -= file.write(bytes(min(left, 1 << 20)))
            self.flush_file(file, path)

    def rename(self, path: Path, target: Path) -> None:
        path.replace(target)
        self.flush_directory(target.parent)

    def remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.flush_directory(path.parent)

    def note(self, path: Path, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def connect(self, path: Path) -> sqlite3.Connection:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        return db

    def commit(self, db: sqlite3.Connection) -> None:
        db.execute("COMMIT")


def reason(error: OSError | sqlite3.Error) -> str:
    """What an operator should know of a refusal; no content of a file is in it."""
    if isinstance(error, OSError):
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return "the disk is full; make room and try again"
        return error.strerror or type(error).__name__
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_FULL:
        return "the disk is full; make room and try again"
    return str(error)


def _read_full(descriptor: int, size: int) -> bytes:
    parts = []
    while size and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
