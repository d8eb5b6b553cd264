"""What goes wrong ends with one line on stderr, the right status, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from libmpc import data
from libmpc.cli import query as query_command
from libmpc.deployment_local import LocalPorts, make_all
from tests.cli.run import Cli

ROOT = Path(__file__).parents[2]
MODEL = data.model_path("short-conv-mnist.h5")


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that does not run: nothing listens on port 1 of this address."""
    directory = tmp_path_factory.mktemp("deployment") / "run"
    ports = LocalPorts(parties=(2, 3, 4), health=(5, 6, 7), gateway=1)
    make_all(directory, ports, host="127.77.0.1")
    return directory / "deployment.yaml"


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "digits.npy"
    np.save(path, data.digits()[0][:2])
    return path


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["frob"], "frob"),
        (["query", "mnist"], "Missing argument"),
        (["query", "mnist", "in.npy"], "--out"),
        (["query", "mnist", "in.npy", "--out", "o.npy", "--frob"], "--frob"),
        (["query", "mnist", "in.npy", "--out", "o.npy"], "LIBMPC_DEPLOYMENT"),
        (["models"], "libmpc up"),
        (["models", "--deployment", ""], "which deployment?"),
        (["serve", "mnist", "--num-requests", "0"], "--num-requests"),
        (["serve", "mnist", "--num-requests", "many"], "--num-requests"),
        (["push", "m.h5", "--name", "m"], "--input-range"),
        (["push", "m.h5", "--name", "m", "--input-range", "0"], "--input-range"),
        (["push", "m.h5", "--name", "m", "--input-range", "zero", "1"], "--input-range"),
        (["party", "--index", "3", "--config", "party.yaml"], "--index"),
        (["party", "--index", "0"], "--config"),
        (["demo", "--digits", "0"], "--digits"),
        (["init", "--dir", "d"], "one of --index"),
        (["init", "--all", "--index", "0", "--dir", "d"], "one of --index"),
        (["init", "--index", "0", "--dir", "d"], "--url"),
        (["init", "--all"], "--dir"),
        (["init", "--join", "a", "b", "--dir", "d"], ""),
    ],
)
def test_wrong_command_lines(cli: Cli, arguments: list[str], what: str) -> None:
    assert what in cli(*arguments).error(2)


def test_num_requests_needs_serve(cli: Cli, deployment: Path) -> None:
    arguments = ("push", MODEL, "--name", "m", "--input-range", 0, 1, "--num-requests", 3)
    assert "--serve" in cli(*arguments, "--deployment", deployment).error(2)


def test_the_gateway_is_down(cli: Cli, deployment: Path, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npy"
    arguments = ("query", "mnist", digits, "--out", out, "--timeout", 0.3)
    message = cli(*arguments, "--deployment", deployment).error()
    assert "gateway" in message
    assert "https://127.77.0.1:1" in message
    assert not out.exists()


def test_the_deployment_comes_from_the_environment(
    cli: Cli, deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBMPC_DEPLOYMENT", str(deployment))
    assert "127.77.0.1" in cli("models", "--timeout", 0.3, "--json").error()


def test_no_such_deployment(cli: Cli, tmp_path: Path) -> None:
    assert "nowhere.yaml" in cli("models", "--deployment", tmp_path / "nowhere.yaml").error()


def test_a_deployment_file_that_is_none(cli: Cli) -> None:
    assert MODEL.name in cli("models", "--deployment", MODEL).error()


def test_credentials_that_others_can_read(cli: Cli, deployment: Path) -> None:
    credentials = deployment.parent / "credentials.yaml"
    credentials.chmod(0o644)
    try:
        assert "chmod 600" in cli("models", "--deployment", deployment).error()
    finally:
        credentials.chmod(0o600)


def test_arrays_are_read_before_anything_is_sent(
    cli: Cli, deployment: Path, tmp_path: Path
) -> None:
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    arguments = ("query", "mnist", path, "--out", tmp_path / "out.npy", "--deployment", deployment)
    assert "Python objects" in cli(*arguments).error()


@pytest.mark.parametrize("out", ["out.txt", "nowhere/out.npy", "."])
def test_where_to_write_is_checked_first(
    cli: Cli, deployment: Path, digits: Path, tmp_path: Path, out: str
) -> None:
    arguments = ("query", "m", digits, "--out", tmp_path / out, "--deployment", deployment)
    message = cli(*arguments).error()
    assert "127.77.0.1" not in message
    assert out.partition("/")[0] in message


@pytest.mark.parametrize("name", ["../mnist", "Mnist", "a b", "", "a/b"])
def test_names_that_are_paths(cli: Cli, deployment: Path, digits: Path, name: str) -> None:
    arguments = ("--name", name, "--input-range", 0, 1, "--deployment", deployment)
    assert "name" in cli("push", MODEL, *arguments).error()


@pytest.mark.parametrize("content", [b"", b"no model", MODEL.read_bytes()[:5000]])
def test_files_that_are_no_models(
    cli: Cli, deployment: Path, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    arguments = ("--name", "m", "--input-range", 0, 1, "--deployment", deployment)
    assert "model.h5" in cli("push", path, *arguments).error()


def test_a_bug_is_no_traceback_and_shows_no_values(
    cli: Cli, deployment: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Path:
        raise ZeroDivisionError("secret 4711")

    monkeypatch.setattr(query_command, "required", broken)
    message = cli("query", "m", digits, "--out", "o.npy", "--deployment", deployment).error()
    assert "ZeroDivisionError" in message
    assert "LIBMPC_DEBUG" in message
    assert "4711" not in message


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "libmpc", "models", "--deployment", tmp_path / "no.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LIBMPC_DEBUG": "1"},
    )
    assert found.returncode == 1
    assert "Traceback" in found.stderr


def test_nobody_reads_the_output() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "libmpc", "--help"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        process.wait()
    assert errors == b""
    assert process.returncode == 1
