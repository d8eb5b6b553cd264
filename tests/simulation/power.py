"""What a loss of power leaves of a disk: what was flushed, and nothing else.

A file's content survives once the file was flushed, its name once the directory was. A commit of
the database survives if SQLite waits for the disk at every commit (``synchronous`` is FULL): the
simulation cannot look into SQLite, so it believes that setting.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from libmpc.party.records import DATABASE

_FULL = 2


class Flushed:
    """What was flushed of one party's files."""

    def __init__(self) -> None:
        self._contents: dict[int, bytes] = {}  # by number of the file (inode)
        self._names: dict[Path, dict[str, int]] = {}
        self._database: tuple[Path, bytes] | None = None

    def file(self, path: Path) -> None:
        """Its content is on the disk."""
        self._contents[path.stat().st_ino] = path.read_bytes()

    def directory(self, path: Path) -> None:
        """The names in it are on the disk."""
        with os.scandir(path) as found:
            files = [entry for entry in found if entry.is_file()]
            self._names[path] = {e.name: e.inode() for e in files if not _is_database(e.name)}

    def commit(self, db: sqlite3.Connection) -> None:
        """A transaction has ended."""
        if db.execute("PRAGMA synchronous").fetchone()[0] >= _FULL:
            name = db.execute("PRAGMA database_list").fetchone()[2]
            self._database = Path(name), db.serialize()

    def restore(self) -> None:
        """Bring the files back to that. Nobody may have the database open."""
        for directory, names in self._names.items():
            before = [(name, self._contents.get(number, b"")) for name, number in names.items()]
            for file in [file for file in directory.iterdir() if file.is_file()]:
                file.unlink()
            for name, content in before:
                (directory / name).write_bytes(content)
            self.directory(directory)
            for name, content in before:
                self._contents[self._names[directory][name]] = content
        if self._database is not None:
            path, content = self._database
            path.write_bytes(content)


def _is_database(name: str) -> bool:
    return name.startswith(DATABASE)
