"""What checks have found, in the order in which they were made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from libmpc.errors import LibmpcError

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Attributes:
        check: what was looked at, in a word or two.
        level: ``error``: queries fail, or will; ``warning``: somebody should look at it.
        hint: what to do; empty where nothing needs to be done.
    """

    check: str
    level: Level
    text: str
    hint: str = ""


class Findings:
    """Collects findings.

    Args:
        show: told of each at once.
    """

    def __init__(self, show: Callable[[Finding], None] = lambda finding: None) -> None:
        self.found: list[Finding] = []
        self._show = show

    def ok(self, check: str, text: str) -> None:
        """It is as it should be."""
        self._add(Finding(check, "ok", text))

    def warn(self, check: str, text: str, hint: str) -> None:
        """It works, and somebody should look at it."""
        self._add(Finding(check, "warning", text, hint))

    def fail(self, check: str, text: str, hint: str) -> None:
        """It does not work."""
        self._add(Finding(check, "error", text, hint))

    @contextmanager
    def failing(self, check: str, hint: str) -> Iterator[None]:
        """What goes wrong within the block is a finding of this check."""
        try:
            yield
        except LibmpcError as error:
            self.fail(check, str(error), hint)

    @property
    def failed(self) -> bool:
        """Whether any check has failed."""
        return any(finding.level == "error" for finding in self.found)

    def _add(self, finding: Finding) -> None:
        self.found.append(finding)
        self._show(finding)
