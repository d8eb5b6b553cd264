"""A party's disk, which survives its process: crashes and losses of power before, in and after
each durable step, and no room."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterable
from contextvars import Context
from pathlib import Path
from typing import IO

from libmpc.disk import Buffer, FileDisk
from libmpc.party.store import Store
from libmpc.party.vault import Vault
from tests.simulation.loop import Crash, Process, SimLoop
from tests.simulation.power import Flushed

#: model → (state, serving, limit, served, period)
Rows = dict[str, tuple[str, bool, int | None, int, int]]


class SimDisk(FileDisk):
    """The machine's own files; what is done durably may be the last that a process does.

    Attributes:
        steps: ends of durable steps so far, over all processes: two for each.
        crash_at: the one at which the process dies.
        power_fails: whether it is the whole machine that goes then, and at every other death.
        full: whether there is room for nothing more.
    """

    def __init__(self, directory: Path, loop: SimLoop) -> None:
        self.directory = directory
        self.steps = 0
        self.crash_at: int | None = None
        self.power_fails = self.full = False
        self._flushed = Flushed()
        self._lost = False
        self._loop = loop
        self._process: Process | None = None
        self._outside: sqlite3.Connection | None = None

    def open(self, process: Process, vault: Vault) -> Store:
        """The store as a starting process finds it.

        Raises:
            Crash: it dies at once.
        """
        if self._lost:
            self._lost = False
            self.close()
            self._flushed.restore()
        self._process = process
        process.on_death.append(self._died)
        store = Store(self.directory, vault, self)
        process.on_death.append(
            lambda: self._loop.call_soon(
                store._records._db.close, context=Context()
            )  # after what it is in
        )
        return store

    def _died(self) -> None:
        self._lost |= self.power_fails

    def rows(self) -> Rows:
        """What a restart would find."""
        if self._outside is None:
            self._outside = sqlite3.connect(self.directory / "party.sqlite", isolation_level=None)
        found = self._outside.execute(
            "SELECT model, state, serving, num_requests, served, command_ms FROM models"
        )
        return {row[0]: (row[1], bool(row[2]), *row[3:]) for row in found}

    def gone(self) -> set[str]:
        """The models that were deleted or replaced."""
        self.rows()
        assert self._outside is not None
        return {row[0] for row in self._outside.execute("SELECT model FROM tombstones")}

    def close(self) -> None:
        if self._outside is not None:
            self._outside.close()
            self._outside = None

    # ---- durable steps

    def _around(self, step: Callable[[], None]) -> None:
        self._edge()
        step()
        self._edge()

    def _edge(self) -> None:
        assert self._process is not None
        self.steps += 1
        if self.crash_at is not None and self.steps >= self.crash_at:
            self.crash_at = None
            self._process.kill()
        if self._process.dead:
            raise Crash

    def flush_file(self, file: IO[bytes], path: Path) -> None:
        file.flush()
        self._flushed.file(path)

    def flush_directory(self, path: Path) -> None:
        self._flushed.directory(path)

    def make_directory(self, path: Path) -> None:
        self._around(lambda: super(SimDisk, self).make_directory(path))

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        whole = b"".join(parts)
        self._around(lambda: path.write_bytes(whole[: len(whole) // 2]) and None)  # torn
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._around(lambda: super(SimDisk, self).write(path, [whole]))

    def overwrite(self, path: Path) -> None:
        self._around(lambda: super(SimDisk, self).overwrite(path))

    def rename(self, path: Path, target: Path) -> None:
        self._around(lambda: super(SimDisk, self).rename(path, target))

    def remove(self, path: Path) -> None:
        self._around(lambda: super(SimDisk, self).remove(path))

    def commit(self, db: sqlite3.Connection) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        self._around(lambda: self._commit(db))

    def _commit(self, db: sqlite3.Connection) -> None:
        super().commit(db)
        self._flushed.commit(db)
