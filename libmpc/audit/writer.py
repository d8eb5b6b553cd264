"""The writing end of an audit log: appends, flushes, begins new files, drops the oldest.

Blocks on the disk: call it from one thread at a time, and not from an event loop.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libmpc.audit.files import file_name, log_files
from libmpc.audit.record import GENESIS, MAX_LINE_BYTES, Event, NewRecord, Record, head
from libmpc.clock import Clock
from libmpc.errors import ConfigError
from libmpc.identity.files import private_directory
from libmpc.wire.errors import WireError
from libmpc.wire.lifetime import to_millis


@dataclass(frozen=True)
class AuditSettings:
    """Bounds of a log.

    Attributes:
        file_bytes: when a file has this many, the next one begins.
        total_bytes: beyond this, the oldest files are deleted, and that is recorded.
    """

    file_bytes: int = 16 << 20
    total_bytes: int = 1 << 30


@dataclass(frozen=True)
class Entry:
    """What is to be written: an event, and a record's further fields."""

    event: Event
    fields: Mapping[str, Any]


class AuditLog:
    """One party's log in one directory, open at its end.

    Args:
        directory: made if missing, with mode 0700.
        deployment: the deployment's id.
        party: whose log it is.

    Raises:
        ConfigError: the directory cannot be used, or the last record is damaged.
    """

    def __init__(
        self,
        directory: Path,
        deployment: bytes,
        party: int,
        clock: Clock,
        settings: AuditSettings | None = None,
    ) -> None:
        self._directory = directory
        self._whose = {"deployment": deployment.hex(), "party": party}
        self._clock = clock
        self._settings = settings or AuditSettings()
        self.head = GENESIS
        self.number = 0
        self._file = -1
        self._size = 0
        try:
            private_directory(directory)
            cut = self._resume()
            if cut:
                self.append([Entry("repaired", {"note": f"{cut} bytes without an end"})])
        except OSError as error:
            raise ConfigError(f"{directory}: the audit log cannot be opened: {error}") from None

    def append(self, entries: Sequence[Entry]) -> None:
        """Write records; they are on disk when this returns.

        Raises:
            OSError: none of them was written; they may be given again.
        """
        lines, number, newest = [], self.number, self.head
        now = to_millis(self._clock.now())
        for entry in entries:
            number += 1
            fields = {**self._whose, **entry.fields, "event": entry.event}
            record = NewRecord.model_validate(
                {"number": number, "prev": newest, "time_ms": now, **fields}
            )
            line = record.line()
            newest = head(line)
            lines.append(line + b"\n")
        if not lines:
            return
        if self._file < 0 or self._size >= self._settings.file_bytes:
            self._begin(self.number + 1)
        data = b"".join(lines)
        try:
            _write_all(self._file, data)
            os.fsync(self._file)
        except OSError:
            # A line that is only half there would be in the way of all that follow.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)
        self.number, self.head = number, newest
        if self._size >= self._settings.file_bytes:
            self._drop_oldest()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self, first: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        file = os.open(self._directory / file_name(first), flags, 0o600)
        self.close()
        self._file, self._size = file, os.fstat(file).st_size
        _sync(self._directory)

    def _resume(self) -> int:
        """Go on where the log ends; returns how many bytes a crash had left behind."""
        cut = 0
        for path in reversed(log_files(self._directory)):
            end, line = _last_line(path)
            size = path.stat().st_size
            cut += size - end
            if line is None:  # nothing was completed in it
                path.unlink()
                continue
            try:
                record = Record.parse(line)
            except WireError:
                raise ConfigError(
                    f"{path}: the last record is damaged; find out where with 'libmpc audit "
                    "verify', then move the file away: the log goes on in a new one"
                ) from None
            if {"deployment": record.deployment, "party": record.party} != self._whose:
                raise ConfigError(f"{path} is another party's audit log; check 'data'")
            self.number, self.head = record.number, head(line)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
            os.ftruncate(self._file, end)
            os.fsync(self._file)
            self._size = end
            break
        return cut

    def _drop_oldest(self) -> None:
        files = log_files(self._directory)
        total = sum(path.stat().st_size for path in files)
        while total > self._settings.total_bytes and len(files) > 1:
            oldest = files.pop(0)
            total -= oldest.stat().st_size
            # Recorded first: a crash in between leaves a file too many, not a hole unexplained.
            self.append([Entry("dropped", {"note": oldest.name})])
            oldest.unlink()
        _sync(self._directory)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _last_line(path: Path) -> tuple[int, bytes | None]:
    """Where the last complete line ends, and the line without its end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        # SECURITY: a crash leaves less than one write; more is not looked at, and reads as damage.
        start = max(0, end - 64 * MAX_LINE_BYTES)
        file.seek(start)
        tail = file.read(end - start)
    stop = tail.rfind(b"\n")
    if stop < 0:
        return (0, None) if start == 0 else (end, tail[-MAX_LINE_BYTES:])
    begin = tail.rfind(b"\n", 0, stop) + 1
    return start + stop + 1, tail[begin:stop]


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
