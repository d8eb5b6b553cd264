"""Every command says what it does, with an example, and starts quickly."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from libmpc import __version__
from tests.cli.run import Cli

ROOT = Path(__file__).parents[2]
CLIENT = (
    "push",
    "models",
    "serve",
    "stop",
    "delete",
    "query",
    "evaluate",
    "bench",
    "status",
    "doctor",
)
SERVICES = ("init", "up", "party", "gateway", "token", "keys", "storage-key", "audit")
OTHERS = (*SERVICES, "reference", "explain", "capacity", "check", "demo")
COMMANDS = (*CLIENT, *OTHERS)
TOKEN = ("token create", "token list", "token revoke")


def test_all_commands_are_listed(cli: Cli) -> None:
    result = cli("--help")
    assert result.code == 0
    listed = re.findall(r"^  ([a-z-]+)  ", result.out.partition("Commands:")[2], re.MULTILINE)
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, *TOKEN])
def test_help_has_an_example(cli: Cli, command: str) -> None:
    result = cli(*command.split(), "--help")
    assert result.code == 0
    assert re.search(rf"Examples?:\n +libmpc {command}\b", result.out)


@pytest.mark.parametrize("command", [*CLIENT, *TOKEN])
def test_client_commands_have_the_common_options(cli: Cli, command: str) -> None:
    text = cli(*command.split(), "--help").out
    assert "--deployment PATH" in text
    assert "LIBMPC_DEPLOYMENT" in text
    assert "--json" in text


def test_examples_parse(cli: Cli) -> None:
    """Options in examples exist: a wrong one would be a usage error of its own kind."""
    for command in CLIENT:
        for line in re.findall(rf"^ +libmpc ({command} .*)$", cli(command, "-h").out, re.MULTILINE):
            message = cli(*line.split()).err
            assert "which deployment?" in message


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.code, result.out) == (0, f"libmpc {__version__}\n")


def test_without_a_command_help_and_status_2(cli: Cli) -> None:
    result = cli()
    assert result.code == 2
    assert result.out == ""
    assert "Commands:" in result.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from libmpc.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'h5py', 'httpx', 'pydantic', 'cryptography', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stderr == "[]\n"


def test_as_a_module() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "libmpc", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == f"libmpc {__version__}\n"
