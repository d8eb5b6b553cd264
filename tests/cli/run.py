"""Run the command line in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from libmpc.cli.main import main


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Its document, which must be all that is on stdout."""
        assert self.code == 0, self.err
        return json.loads(self.out)

    def error(self, code: int = 1) -> str:
        """Its message, which must be one line on stderr, after nothing on stdout."""
        assert self.code == code, (self.code, self.out, self.err)
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")


class Cli:
    """``cli("query", "mnist", ...)``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Result:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        code = ending.value.code
        assert isinstance(code, int)
        return Result(code, captured.out, captured.err)
