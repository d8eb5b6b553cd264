"""The audit log as files: what is written stays, and whatever is changed in it shows."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from libmpc.audit import GENESIS, AuditLog, AuditSettings, BrokenLogError, Follow, check, head
from libmpc.audit.files import log_files
from libmpc.audit.record import Record
from libmpc.audit.writer import Entry
from libmpc.errors import ConfigError
from libmpc.wire.errors import WireError
from tests.manual_clock import ManualClock

DEPLOYMENT = bytes(range(16))
SMALL = AuditSettings(file_bytes=1000, total_bytes=1 << 30)


def note(number: int) -> Entry:
    return Entry("settings", {"note": f"number {number}"})


def open_log(path: Path, settings: AuditSettings | None = None, party: int = 1) -> AuditLog:
    return AuditLog(path, DEPLOYMENT, party, ManualClock(), settings)


def filled(path: Path, records: int = 20, settings: AuditSettings | None = None) -> AuditLog:
    log = open_log(path, settings)
    for number in range(1, records + 1):
        log.append([note(number)])
    log.close()
    return log


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_records_come_back_as_written_and_the_head_is_the_last_lines(tmp_path: Path) -> None:
    log = filled(tmp_path / "log")
    records = list(Follow(tmp_path / "log"))
    assert [r.note for r in records] == [f"number {n}" for n in range(1, 21)]
    assert [r.number for r in records] == list(range(1, 21))
    checked = check(tmp_path / "log")
    assert (checked.records, checked.first, checked.last, checked.torn) == (20, 1, 20, 0)
    (file,) = log_files(tmp_path / "log")
    assert checked.head == log.head == head(lines(file)[-1].rstrip(b"\n"))
    assert checked.begins == GENESIS
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_line_is_canonical_json(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    (line,) = lines(log_files(tmp_path)[0])
    fields = json.loads(line)
    assert list(fields) == sorted(fields)
    assert fields["prev"] == GENESIS
    assert Record.parse(line.rstrip(b"\n")).line() == line.rstrip(b"\n")
    with pytest.raises(WireError, match="canonical"):
        Record.parse(json.dumps(fields).encode())


def test_records_of_a_later_build_are_read_and_followed(tmp_path: Path) -> None:
    """An older build goes on where a newer one has written what it does not know."""
    first = filled(tmp_path, 3)
    (file,) = log_files(tmp_path)
    fields = {**json.loads(lines(file)[-1]), "event": "painted", "color": "blue"}
    later = {**fields, "number": 4, "prev": first.head}
    line = json.dumps(later, sort_keys=True, separators=(",", ":")).encode()
    with file.open("ab") as log:
        log.write(line + b"\n")
    again = open_log(tmp_path)
    assert (again.number, again.head) == (4, head(line))
    again.append([note(5)])
    again.close()
    records = list(Follow(tmp_path))
    assert [r.event for r in records[2:]] == ["settings", "painted", "settings"]
    assert records[3].to_json()["color"] == "blue"
    for wrong in ("Painted", "", "a" * 33, 7, None):
        with pytest.raises(WireError):
            Record.parse(json.dumps({**later, "event": wrong}, sort_keys=True).encode())


def test_it_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = filled(tmp_path, 3)
    again = open_log(tmp_path)
    assert (again.number, again.head) == (3, first.head)
    again.append([note(4), note(5)])
    again.close()
    assert check(tmp_path, first.head).last == 5


def test_files_follow_each_other(tmp_path: Path) -> None:
    filled(tmp_path, 30, SMALL)
    files = log_files(tmp_path)
    assert len(files) > 3
    assert check(tmp_path).last == 30
    # One file on its own says what it follows from, which is the head of the one before.
    assert check(files[1]).begins == check(files[0]).head
    assert check(files[1]).first == check(files[0]).last + 1


def test_the_oldest_files_go_and_that_is_recorded(tmp_path: Path) -> None:
    filled(tmp_path, 200, AuditSettings(file_bytes=1000, total_bytes=5000))
    total = sum(path.stat().st_size for path in log_files(tmp_path))
    assert total < 5000 + 2 * 1000
    checked = check(tmp_path)
    assert checked.first > 1
    dropped = [r.note for r in Follow(tmp_path) if r.event == "dropped"]
    assert dropped
    assert not any((tmp_path / str(name)).exists() for name in dropped)


def test_every_changed_byte_shows_at_its_record(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    (file,) = log_files(tmp_path)
    whole = file.read_bytes()
    noted = check(tmp_path).head
    ends = [i for i, byte in enumerate(whole) if byte == 0x0A]
    for position in range(len(whole)):
        for flip in (1, 0x20):
            file.write_bytes(
                whole[:position] + bytes([whole[position] ^ flip]) + whole[position + 1 :]
            )
            with pytest.raises(BrokenLogError) as caught:
                check(file, noted)
            record = 1 + sum(end < position for end in ends)
            # A record's ``prev`` may be wrong, or the record that it names. The last one has none
            # after it: only the noted head names it.
            assert caught.value.number in (record - 1, record, record + 1), position


@pytest.mark.parametrize(
    ("change", "number"),
    [
        pytest.param(lambda a: a[:4] + a[5:], 5, id="one deleted"),
        pytest.param(lambda a: [*a[:4], a[5], a[4], *a[6:]], 5, id="two exchanged"),
        pytest.param(lambda a: [*a[:4], a[3], *a[4:]], 5, id="one repeated"),
        pytest.param(lambda a: a[1:4], 0, id="nothing: the end was cut off"),
        pytest.param(lambda a: [b"{}\n", *a], 1, id="one invented"),
        pytest.param(lambda a: [*a[:4], b"\n", *a[4:]], 5, id="an empty line"),
        pytest.param(lambda a: [*a[:4], b"x" * 9000 + b"\n", *a[4:]], 5, id="a long line"),
    ],
)
def test_what_was_done_to_a_log(tmp_path: Path, change: object, number: int) -> None:
    filled(tmp_path, 8)
    (file,) = log_files(tmp_path)
    file.write_bytes(b"".join(change(lines(file))))  # type: ignore[operator]
    if number == 0:
        assert check(file).first == 2
        return
    with pytest.raises(BrokenLogError) as caught:
        check(file)
    assert caught.value.number == number
    assert caught.value.path == file


def test_a_missing_file_in_the_middle(tmp_path: Path) -> None:
    filled(tmp_path, 30, SMALL)
    files = log_files(tmp_path)
    expected = check(files[0]).last + 1
    files[1].unlink()
    with pytest.raises(BrokenLogError) as caught:
        check(tmp_path)
    assert caught.value.number == expected


def test_a_cut_off_end_shows_against_a_noted_head_only(tmp_path: Path) -> None:
    filled(tmp_path, 8)
    noted = check(tmp_path).head
    (file,) = log_files(tmp_path)
    file.write_bytes(b"".join(lines(file)[:5]))
    assert check(tmp_path).last == 5  # the chain alone cannot tell
    with pytest.raises(BrokenLogError, match="cut off") as caught:
        check(tmp_path, noted)
    assert caught.value.number == 6


def test_a_log_that_was_hashed_anew_shows_against_a_noted_head_only(tmp_path: Path) -> None:
    filled(tmp_path / "true", 8)
    noted = check(tmp_path / "true").head
    log = open_log(tmp_path / "forged")
    log.append([note(n) for n in (1, 2, 99, 4, 5, 6, 7, 8)])
    log.close()
    assert check(tmp_path / "forged").last == 8
    with pytest.raises(BrokenLogError):
        check(tmp_path / "forged", noted)


def test_another_partys_records_do_not_fit_in(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    (file,) = log_files(tmp_path)
    last = Record.parse(lines(file)[-1].rstrip(b"\n"))
    foreign = last.model_copy(update={"party": 2, "number": 3, "prev": check(file).head})
    with file.open("ab") as out:
        out.write(foreign.line() + b"\n")
    with pytest.raises(BrokenLogError, match="another party"):
        check(file)
    with pytest.raises(ConfigError, match="another party"):
        open_log(tmp_path)


@pytest.mark.parametrize("left", [b'{"deploy', b"\0" * 100])
def test_a_line_that_a_crash_cut_off_is_removed_and_that_is_recorded(
    tmp_path: Path, left: bytes
) -> None:
    filled(tmp_path, 3)
    noted = check(tmp_path).head
    (file,) = log_files(tmp_path)
    with file.open("ab") as out:
        out.write(left)
    assert check(tmp_path).torn == len(left)
    open_log(tmp_path).close()
    checked = check(tmp_path, noted)
    assert (checked.torn, checked.last) == (0, 4)
    assert list(Follow(tmp_path))[-1].note == f"{len(left)} bytes without an end"


def test_a_file_that_was_just_begun_when_the_process_died(tmp_path: Path) -> None:
    log = filled(tmp_path, 30, SMALL)
    (tmp_path / "audit-000000000031.jsonl").write_bytes(b"{")
    again = open_log(tmp_path, SMALL)
    assert (again.number, again.head) != (30, log.head)  # one more: "repaired"
    again.append([note(32)])
    again.close()
    assert check(tmp_path, log.head).last == 32


def test_a_damaged_last_record_is_an_error_and_never_a_new_beginning(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    (file,) = log_files(tmp_path)
    file.write_bytes(file.read_bytes()[:-2] + b"x\n")
    with pytest.raises(ConfigError, match="libmpc audit verify"):
        open_log(tmp_path)


def test_a_full_disk_leaves_the_log_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line is written, then the disk is full; once there is room it goes on."""
    log = open_log(tmp_path)
    log.append([note(1)])
    write = os.write

    def half(file: int, data: memoryview) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data[: len(data) - 10])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(OSError, match="space"):
            log.append([note(2), note(3)])
    assert check(tmp_path).last == 1
    assert check(tmp_path).torn == 0
    log.append([note(2), note(3)])
    log.close()
    assert [r.note for r in Follow(tmp_path)] == ["number 1", "number 2", "number 3"]


def test_no_log_is_no_good_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no audit log"):
        check(tmp_path)
    with pytest.raises(ConfigError, match="cannot read"):
        check(tmp_path / "missing.jsonl")
