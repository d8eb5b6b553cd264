"""The reading end of an audit log: follows the chain and names the first record that breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from libmpc.audit.files import log_files
from libmpc.audit.record import GENESIS, MAX_LINE_BYTES, Record, head
from libmpc.errors import ConfigError, LibmpcError
from libmpc.wire.errors import WireError


class BrokenLogError(LibmpcError):
    """A log is not what was written.

    Attributes:
        path, line: where the first broken record is; lines are counted from 1.
        number: of the record that stands there, or should.
    """

    def __init__(self, path: Path, line: int, number: int, why: str) -> None:
        super().__init__(f"{path}, line {line}: record {number} is broken: {why}")
        self.path, self.line, self.number = path, line, number


@dataclass(frozen=True)
class Checked:
    """A log whose chain holds.

    Attributes:
        first, last: numbers of its records; both 0 for an empty log.
        head: of its last record.
        begins: what came before the first record: ``GENESIS`` where it begins at the beginning.
        torn: bytes of an unfinished line at the very end, as a crash leaves them.
    """

    files: int
    records: int
    first: int
    last: int
    begins: str
    head: str
    torn: int


class Follow:
    """Reads records and checks each against the one before.

    Args:
        path: one file of a log, or its directory.

    Raises:
        ConfigError: there is no log, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.files = log_files(path) if path.is_dir() else [path]
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from None
        if not self.files:
            raise ConfigError(f"{path} has no audit log (audit-*.jsonl)")
        self.records = self.first = self.last = self.torn = 0
        self.begins = self.head = GENESIS
        self._whose: tuple[str, int] | None = None
        self._place = (self.files[0], 0)

    def __iter__(self) -> Iterator[Record]:
        """The records, in order.

        Raises:
            BrokenLogError: at the first record that is not what was written.
        """
        for path in self.files:
            try:
                with path.open("rb") as file:
                    place = 0
                    # Bounded: a damaged file may be one line without an end.
                    while line := file.readline(MAX_LINE_BYTES + 2):
                        place += 1
                        if not line.endswith(b"\n") and len(line) <= MAX_LINE_BYTES:
                            self._unfinished(path, place, line)
                        else:
                            yield self._next(path, place, line.removesuffix(b"\n"))
            except OSError as error:
                raise ConfigError(f"cannot read {path}: {error.strerror}") from None

    def _unfinished(self, path: Path, place: int, line: bytes) -> None:
        if path != self.files[-1]:
            raise BrokenLogError(path, place, self.last + 1, "it ends in the middle of a line")
        self.torn = len(line)

    def _next(self, path: Path, place: int, line: bytes) -> Record:
        expected = self.last + 1
        try:
            record = Record.parse(line)
        except WireError as error:
            raise BrokenLogError(path, place, expected, str(error)) from None
        whose = (record.deployment, record.party)
        if self.records == 0:
            if (record.number == 1) != (record.prev == GENESIS):
                raise BrokenLogError(path, place, 1, "a log begins with record 1, after nothing")
            self.first, self.begins, self._whose = record.number, record.prev, whose
        elif record.number != expected:
            why = f"record {record.number} stands where {expected} should"
            raise BrokenLogError(path, place, expected, why)
        elif record.prev != self.head:
            why = f"record {record.number} names another one in its place; one of them was changed"
            raise BrokenLogError(*self._place, self.last, why)
        elif whose != self._whose:
            raise BrokenLogError(path, place, record.number, "it is another party's")
        self.records += 1
        self.last, self.head, self._place = record.number, head(line), (path, place)
        return record


def check(path: Path, noted: str | None = None) -> Checked:
    """Check the chain of a log.

    Args:
        path: one file of it, or its directory.
        noted: a head that was noted down earlier; the log must still contain it.

    Raises:
        BrokenLogError: the chain is broken, or the noted head is not on it.
        ConfigError: there is no log, or it cannot be read.
    """
    follow = Follow(path)
    found = noted is None
    for _ in follow:
        found = found or follow.head == noted
    if not found and noted != follow.begins:
        raise BrokenLogError(
            follow.files[-1],
            0,
            follow.last + 1,
            "the head that was noted down is not in this log: records were cut off, or changed "
            "and hashed again",
        )
    return Checked(
        files=len(follow.files),
        records=follow.records,
        first=follow.first,
        last=follow.last,
        begins=follow.begins,
        head=follow.head,
        torn=follow.torn,
    )
