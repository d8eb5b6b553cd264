"""Services that die are started again, with growing pauses; stopping is quick and final."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from libmpc.cluster.child import BackOff
from libmpc.cluster.supervisor import MAX_ERRORS, Supervisor
from libmpc.errors import ServiceError
from tests.cluster.programs import DEAF, FOLLOWS, QUICK, Reports, command, is_running, until


def test_back_off_doubles_up_to_a_limit() -> None:
    back_off = BackOff(first=0.1, longest=1.0)
    assert [back_off.pause(n) for n in (1, 2, 3, 4, 5, 500)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_lines_are_reported_with_the_name_of_their_service() -> None:
    reports = Reports()
    codes = {name: f"print('I am {name}')\n{FOLLOWS}" for name in ("a", "b")}
    with Supervisor([command(n, c) for n, c in codes.items()], reports, QUICK):
        until(lambda: all(reports.count(name, f"I am {name}") for name in codes))
    assert reports.count("a", "I am b") == 0


def test_a_killed_service_comes_back_ten_times() -> None:
    reports = Reports()
    with Supervisor([command("a", FOLLOWS), command("b", FOLLOWS)], reports, QUICK) as supervisor:
        other = None
        for times in range(1, 11):
            until(lambda times=times: reports.count("a", "ready") == times)
            pid = supervisor.processes["a"]
            other = other or supervisor.processes["b"]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        until(lambda: reports.count("a", "ready") == 11)
        assert supervisor.processes["b"] == other
    assert reports.count("a", "was ended by SIGKILL; starting it again") == 10


def test_stopping_ends_all_and_starts_none_again() -> None:
    reports = Reports()
    with Supervisor([command(n, FOLLOWS) for n in "abc"], reports, QUICK) as supervisor:
        until(lambda: all(reports.count(name, "ready") for name in "abc"))
        pids = [pid for pid in supervisor.processes.values() if pid is not None]
        assert len(pids) == 3
    assert not any(map(is_running, pids))
    assert supervisor.processes == {"a": None, "b": None, "c": None}
    assert all(reports.count(name, "starting it again") == 0 for name in "abc")


def test_one_that_does_not_listen_is_ended_in_time() -> None:
    reports = Reports()
    supervisor = Supervisor([command("deaf", DEAF)], reports, QUICK)
    supervisor.start()
    until(lambda: reports.count("deaf", "ready"))
    pid = supervisor.processes["deaf"]
    assert pid is not None
    begin = time.monotonic()
    supervisor.stop(timeout=0.3)
    assert time.monotonic() - begin < 2
    assert not is_running(pid)


def test_stopping_while_waiting_to_start_again() -> None:
    reports = Reports()
    slow = BackOff(first=60, longest=60)
    supervisor = Supervisor([command("a", "raise SystemExit(3)")], reports, slow)
    supervisor.start()
    until(lambda: reports.count("a", "ended by itself (exit status 3); starting it again in 60 s"))
    begin = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - begin < 1
    assert reports.count("a", "started (process") == 1


def test_one_that_never_starts_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "bad.log"
    code = "print('the reason'); raise SystemExit(1)"
    commands = [command("good", FOLLOWS), command("bad", code, log)]
    with (
        Supervisor(commands, Reports(), QUICK) as supervisor,
        pytest.raises(ServiceError, match="bad does not start") as error,
    ):
        supervisor.wait_until(lambda: False, timeout=60)
    assert str(log) in str(error.value)
    assert "the reason" in str(error.value)
    assert log.read_text().count("the reason") >= MAX_ERRORS


def test_not_ready_in_time(tmp_path: Path) -> None:
    with (
        Supervisor([command("a", FOLLOWS, tmp_path / "a.log")], Reports(), QUICK) as supervisor,
        pytest.raises(ServiceError, match=r"not ready within 0\.2 s"),
    ):
        supervisor.wait_until(lambda: False, timeout=0.2)


def test_a_program_that_is_not_there() -> None:
    reports = Reports()
    nothing = command("a", "")
    broken = type(nothing)("a", ("/no/such/program",))
    with Supervisor([broken], reports, QUICK):
        until(lambda: reports.count("a", "cannot be started"))
