"""Services are found by entry points, and what is missing is said."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from libmpc.cli import service
from tests.cli.run import Cli


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()  # a service's process ends after that, this one does not


def _install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    """Have these entry points and no others."""
    found = {point.name: point for point in points}
    monkeypatch.setattr(service, "entry_point", found.get)


def test_services_are_not_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch)
    assert "pip install 'libmpc[all]'" in cli("gateway", "--config", "gateway.yaml").error()


def test_what_services_need_is_not_installed(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "needy_service.py").write_text("import a_server_that_is_not_installed\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _install(monkeypatch, EntryPoint("gateway", "needy_service:run", "libmpc.services"))
    message = cli("gateway", "--config", "gateway.yaml").error()
    assert "a_server_that_is_not_installed" in message
    assert "pip install 'libmpc[all]'" in message


def test_what_a_service_is_given(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = "def run(*arguments):\n    print(*arguments)\n"
    (tmp_path / "printing_service.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        EntryPoint(name, "printing_service:run", "libmpc.services") for name in ("party", "gateway")
    ]
    _install(monkeypatch, *points)
    assert cli("party", "--index", 2, "--config", "p/party.yaml").out == "p/party.yaml 2\n"
    assert cli("gateway", "--config", "gateway.yaml").out == "gateway.yaml\n"


def test_a_share_of_bundles_to_verify(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = "import os\n\ndef run(*arguments):\n    print(os.environ['LIBMPC_PARTY_AUDIT'])\n"
    (tmp_path / "auditing_service.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LIBMPC_PARTY_AUDIT", "0.5")
    _install(monkeypatch, EntryPoint("party", "auditing_service:run", "libmpc.services"))
    party = ("party", "--index", 0, "--config", "party.yaml")
    assert cli(*party).out == "0.5\n"
    assert "--audit" in cli(*party, "--audit", 2).error(2)
    assert cli(*party, "--audit", 0.01).out == "0.01\n"


def test_the_real_services_explain_a_missing_file(cli: Cli, tmp_path: Path) -> None:
    for arguments in (("party", "--index", 0), ("gateway",)):
        message = cli(*arguments, "--config", tmp_path / "nothing.yaml").error()
        assert "nothing.yaml" in message
