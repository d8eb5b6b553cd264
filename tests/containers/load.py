"""A client that asks without pause and keeps what came of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

import libmpc

ROWS = 8
TIMEOUT = 20.0


class Load:
    """Queries of a few digits, one after the other, without retries, while the block lasts."""

    def __init__(self, deployment: Path, name: str, x: np.ndarray, expected: np.ndarray) -> None:
        self._deployment = deployment
        self._name = name
        self._x = x
        self._expected = expected
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.right = self.wrong = 0
        self.last_right = 0.0
        self.errors: list[libmpc.LibmpcError] = []
        self.broken: BaseException | None = None
        self.longest = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(TIMEOUT + 10)

    @property
    def summary(self) -> str:
        """What the client saw, in one line."""
        kinds = Counter(map(kind, self.errors))
        seen = ", ".join(f"{count} {name}" for name, count in kinds.items()) or "no errors"
        return f"{self.right} right, {self.wrong} wrong, {seen}; longest wait {self.longest:.1f} s"

    def _run(self) -> None:
        try:
            with libmpc.Client(self._deployment, retries=0, timeout=TIMEOUT) as client:
                while not self._stopping.is_set():
                    self._ask(client)
        except BaseException as error:
            self.broken = error
            raise

    def _ask(self, client: libmpc.Client) -> None:
        start = (self.right * ROWS) % len(self._x)
        rows = slice(start, start + ROWS)
        begin = time.monotonic()
        try:
            logits = client.query(self._name, self._x[rows])
        except libmpc.LibmpcError as error:
            self.errors.append(error)
            self._stopping.wait(0.05)
        else:
            same = np.array_equal(logits, self._expected[rows])
            self.right += same
            self.wrong += not same
            self.last_right = time.monotonic()
        self.longest = max(self.longest, time.monotonic() - begin)


def kind(error: libmpc.LibmpcError) -> str:
    """An error's class and status, such as ``UnavailableError 503``."""
    return f"{type(error).__name__} {getattr(error, 'status', None) or ''}".strip()
