"""Something to look at on stderr, where a command takes more than a second."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

AFTER_SECONDS = 1.0
_EVERY_TERMINAL = 0.2
_EVERY_LOG = 10.0
_BAR = 20


class Progress:
    """Says what is going on, after a second, and how long it has taken.

    On a terminal the line is rewritten and vanishes in the end; elsewhere there is a line every
    ten seconds.

    Args:
        what: such as ``"pushing mnist"``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._share = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)

    def update(self, done: int, total: int) -> None:
        """Show how much of something has been done."""
        self.stage("", done, total)

    def stage(self, doing: str, done: int, total: int) -> None:
        """Show what is being done just now, and how much of it has been done."""
        full = _BAR * done // max(total, 1)
        bar = f" [{'#' * full}{'-' * (_BAR - full)}]" if sys.stderr.isatty() else ""
        name = f" {doing}" if doing else ""
        self._share = f"{name}{bar} {100 * done // max(total, 1)} %"

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _show(self) -> None:
        terminal = sys.stderr.isatty()
        shown = False
        pause = AFTER_SECONDS
        while not self._stop.wait(pause):
            seconds = int(time.monotonic() - self._start)
            line = f"{self._what} ...{self._share} ({seconds} s)"
            _write(f"\r\x1b[K{line}" if terminal else f"{line}\n")
            shown, pause = True, _EVERY_TERMINAL if terminal else _EVERY_LOG
        if shown and terminal:
            _write("\r\x1b[K")


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # nobody looks any more
        pass
