"""A party's disk, which survives its process: crashes before, in and after each durable step."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from contextvars import Context
from pathlib import Path

from libmpc.disk import Buffer, FileDisk
from libmpc.party.store import Store
from libmpc.party.vault import Vault
from tests.simulation.loop import Crash, Process, SimLoop

#: model → (state, serving, limit, served, period)
Rows = dict[str, tuple[str, bool, int | None, int, int]]


class SimDisk(FileDisk):
    """The machine's own files; what is done durably may be the last that a process does.

    Attributes:
        steps: ends of durable steps so far, over all processes: two for each.
        crash_at: the one at which the process dies.
    """

    def __init__(self, directory: Path, loop: SimLoop) -> None:
        self.directory = directory
        self.steps = 0
        self.crash_at: int | None = None
        self._loop = loop
        self._process: Process | None = None
        self._outside: sqlite3.Connection | None = None

    def open(self, process: Process, vault: Vault) -> Store:
        """The store as a starting process finds it.

        Raises:
            Crash: it dies at once.
        """
        self._process = process
        store = Store(self.directory, vault, self)
        process.on_death.append(
            lambda: self._loop.call_soon(
                store._records._db.close, context=Context()
            )  # after what it is in
        )
        return store

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
        assert self._outside is not None
        return {row[0] for row in self._outside.execute("SELECT model FROM tombstones")}

    def close(self) -> None:
        if self._outside is not None:
            self._outside.close()

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

    def make_directory(self, path: Path) -> None:
        self._around(lambda: super(SimDisk, self).make_directory(path))

    def write(self, path: Path, parts: Iterable[Buffer]) -> None:
        whole = b"".join(parts)
        self._around(lambda: path.write_bytes(whole[: len(whole) // 2]) and None)  # torn
        self._around(lambda: super(SimDisk, self).write(path, [whole]))

    def overwrite(self, path: Path) -> None:
        self._around(lambda: super(SimDisk, self).overwrite(path))

    def rename(self, path: Path, target: Path) -> None:
        self._around(lambda: super(SimDisk, self).rename(path, target))

    def remove(self, path: Path) -> None:
        self._around(lambda: super(SimDisk, self).remove(path))

    def commit(self, db: sqlite3.Connection) -> None:
        self._around(lambda: super(SimDisk, self).commit(db))
