"""``libmpc audit``: a log that holds, and one that does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libmpc.audit import AuditLog
from libmpc.audit.files import log_files
from libmpc.audit.writer import Entry
from tests.cli.run import Cli
from tests.manual_clock import ManualClock


@pytest.fixture
def log(tmp_path: Path) -> Path:
    audit = AuditLog(tmp_path, bytes(16), 1, ManualClock())
    asked = {"gateway": "ab" * 32, "model": "cd" * 32, "name": "mnist", "owner": "ef" * 32}
    audit.append([Entry("started", {"note": "libmpc 1"})])
    audit.append([Entry("serve", {**asked, "num_requests": 7, "outcome": 200})])
    sums = {"count": 3, "samples": 12, "from_ms": 1, "outcome": 200}
    audit.append([Entry("query", {**asked, **sums})])
    audit.append([Entry("stop", {"peer": 2, "model": "cd" * 32, "name": "mnist"})])
    audit.close()
    return tmp_path


def test_verify(cli: Cli, log: Path) -> None:
    found = cli("audit", "verify", log, "--json").json()
    assert (found["ok"], found["records"], found["last"]) == (True, 4, 4)
    text = cli("audit", "verify", log, "--head", found["head"]).out
    assert "4 records in 1 file, 1 to 4: the chain holds" in text
    assert f"head: {found['head']}" in text


def test_verify_names_the_first_broken_record(cli: Cli, log: Path) -> None:
    (file,) = log_files(log)
    file.write_bytes(file.read_bytes().replace(b'"samples":12', b'"samples":11'))
    message = cli("audit", "verify", log).error()
    assert "line 3: record 3 is broken" in message
    assert file.name in message


def test_verify_with_a_head_that_is_gone(cli: Cli, log: Path) -> None:
    head = cli("audit", "verify", log, "--json").json()["head"]
    (file,) = log_files(log)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    assert cli("audit", "verify", log).code == 0
    assert "cut off" in cli("audit", "verify", log, "--head", head).error()


def test_show(cli: Cli, log: Path) -> None:
    lines = cli("audit", "show", log).out.splitlines()
    assert len(lines) == 4
    assert lines[0].split()[3:] == ["started", "libmpc", "1"]
    assert "gateway abababab" in lines[1]
    assert "limit 7" in lines[1]
    assert "3 x  12 samples  200" in lines[2]
    assert "party 2" in lines[3]
    assert cli("audit", "show", log, "--last", 1).out.splitlines() == lines[3:]
    records = [json.loads(line) for line in cli("audit", "show", log, "--json").out.splitlines()]
    assert [record["event"] for record in records] == ["started", "serve", "query", "stop"]


@pytest.mark.parametrize("head", ["xyz", "AB" * 32])
def test_a_head_that_is_none(cli: Cli, log: Path, head: str) -> None:
    assert "64" in cli("audit", "verify", log, "--head", head).error(2)


def test_no_log(cli: Cli, tmp_path: Path) -> None:
    assert "no audit log" in cli("audit", "verify", tmp_path).error()
