from __future__ import annotations

import pytest

from tests.cli.run import Cli


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.delenv("LIBMPC_DEPLOYMENT", raising=False)
    monkeypatch.delenv("LIBMPC_DEBUG", raising=False)
    return Cli(capsys)
