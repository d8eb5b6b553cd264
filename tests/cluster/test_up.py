"""``libmpc up`` as a process: what appears when, what survives, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import data
from tests.cluster.programs import ROOT, is_running, until

MODEL = data.model_path("short-conv-mnist.h5")
# A shell starts its background jobs with SIGINT ignored.
BACKGROUND = "trap '' INT; exec \"$@\""


class Up:
    """A running ``libmpc up``."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.directory = directory
        self.deployment = directory / "deployment.yaml"
        self.process = process
        self._log = log

    @property
    def text(self) -> str:
        return self._log.read_text()

    def pid(self, name: str) -> int:
        """The newest process of a service."""
        pattern = rf"^{name} *\| started \(process (\d+)\)"
        return int(re.findall(pattern, self.text, re.MULTILINE)[-1])

    def pids(self) -> list[int]:
        return [self.pid(name) for name in ("party 0", "party 1", "party 2", "gateway")]

    def wait_until_ready(self) -> None:
        until(lambda: self.process.poll() is not None or self.deployment.exists(), 100)
        assert self.deployment.exists(), self.text


@contextmanager
def _up(directory: Path, *arguments: str) -> Iterator[Up]:
    log = directory.parent / f"{directory.name}.log"
    command = [sys.executable, "-m", "libmpc", "up", "--dir", str(directory), *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["sh", "-c", BACKGROUND, "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
        )
    with process:
        try:
            yield Up(directory, process, log)
        finally:
            process.kill()


@pytest.mark.timeout(300)
def test_from_the_first_start_to_kill_9(tmp_path: Path) -> None:
    x = data.digits()[0][:3]
    model = libmpc.load_model(MODEL, (0, 1))
    expected = model.reference(x)

    with _up(tmp_path / "run") as up:
        assert not up.deployment.exists()
        up.wait_until_ready()
        with libmpc.Cluster(up.deployment) as cluster, libmpc.Client(up.deployment) as client:
            cluster.share(model, "mnist", serve=True, num_requests=2)
            assert np.array_equal(client.query("mnist", x), expected)

            os.kill(up.pid("party 1"), signal.SIGKILL)
            until(lambda: up.text.count("was ended by SIGKILL; starting it again") == 1)
            until(lambda: _answers(up.deployment, x, expected))
        pids = up.pids()
        begin = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(30) == 0
        assert time.monotonic() - begin < 5
        assert not up.deployment.exists()
        assert not any(map(is_running, pids))

    with _up(tmp_path / "run") as up:  # the same directory again
        up.wait_until_ready()
        with libmpc.Client(up.deployment) as client, pytest.raises(libmpc.LimitError):
            client.query("mnist", x)  # the count is kept too
        pids = up.pids()
        up.process.kill()
        up.process.wait()
        until(lambda: not any(map(is_running, pids)), 5)


def _answers(deployment: Path, x: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a query is answered; a wrong answer fails at once."""
    try:
        with libmpc.Client(deployment, timeout=10) as client:
            assert np.array_equal(client.query("mnist", x), expected)
    except libmpc.UnavailableError:
        return False
    return True


def test_sigterm_while_it_starts(tmp_path: Path) -> None:
    with _up(tmp_path / "run") as up:
        until(lambda: up.text.count("| started (process") == 4)
        pids = up.pids()
        begin = time.monotonic()
        up.process.terminate()
        assert up.process.wait(30) == 1
        assert time.monotonic() - begin < 5
        assert "error: stopped before it was ready" in up.text
        assert not up.deployment.exists()
        assert not any(map(is_running, pids))


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with _up(tmp_path / "run", "--port", str(port)) as up:
            assert up.process.wait(60) == 1
            assert f"error: port {port}" in up.text
            assert "Traceback" not in up.text


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with _up(tmp_path / "run") as up:
        assert up.process.wait(60) == 1
        assert f"error: cannot make the directory {tmp_path / 'run'}" in up.text


@pytest.mark.slow
def test_the_demo() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "libmpc", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert found.returncode == 0, found.stderr
    assert "12 of 12 right, 12 of 12 exact" in found.stdout
    assert "party 0 to party 1: 14 message(s)" in found.stdout
