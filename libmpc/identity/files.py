"""Files that appear whole or not at all, and private ones that only their owner can read."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from libmpc.errors import ConfigError

MAX_FILE_BYTES = 1 << 20


def write_public(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably; everybody may read it."""
    _write(path, data, 0o644)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably; only its owner can ever read it."""
    _write(path, data, 0o600)


def read_public(path: Path, what: str) -> bytes:
    """Read a small file.

    Raises:
        ConfigError: missing, unreadable or larger than 1 MiB.
    """
    return _read(path, what, private=False)


def read_private(path: Path, what: str) -> bytes:
    """Read a small file that nobody else may be able to read.

    Raises:
        ConfigError: missing, unreadable, larger than 1 MiB, or open to others.
    """
    return _read(path, what, private=True)


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Fill a private directory (0700) that takes its name only when the block has succeeded.

    Raises:
        ConfigError: the directory exists and is not empty.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{path.name}-{secrets.token_hex(4)}"
    unfinished.mkdir(mode=0o700)
    try:
        yield unfinished
        try:
            unfinished.rename(path)
        except OSError:
            refuse_existing(path)
            raise
        _sync_directory(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def refuse_existing(path: Path) -> None:
    """Check that nothing is at a path, or an empty directory.

    Raises:
        ConfigError: something is; whoever wants it gone deletes it by hand.
    """
    if path.is_dir() and not any(path.iterdir()):
        return
    if os.path.lexists(path):
        raise ConfigError(
            f"{path} exists and is not overwritten, since keys that are gone cannot be brought "
            "back; choose another directory, or delete this one yourself"
        )


def private_directory(path: Path) -> None:
    """Make a directory that only its owner can enter, if it is not there yet."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _write(path: Path, data: bytes, mode: int) -> None:
    unfinished = path.parent / f".{path.name}-{secrets.token_hex(4)}"
    # SECURITY: the mode is right from the first moment; a chmod afterwards would leave a gap.
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, what: str, *, private: bool) -> bytes:
    try:
        # Non-blocking, so that opening a named pipe does not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError(f"{path} ({what}) is no regular file")
            if private:
                _check_private(path, status)
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no {path} ({what}); make it with 'libmpc init'") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path} ({what}): {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} ({what}) has more than {MAX_FILE_BYTES} bytes")
    return data


def _check_private(path: Path, status: os.stat_result) -> None:
    # A secret that a container runtime mounts belongs to root and is readable by the process's
    # group: nothing a chmod could improve. Whatever is ours has no reason to be open to others.
    ours = status.st_uid == os.geteuid()
    if stat.S_IMODE(status.st_mode) & (0o077 if ours else 0o007):
        raise ConfigError(f"{path} can be read by others; run: chmod 600 '{path}'")
