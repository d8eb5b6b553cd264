"""A client that asks without pause, and keeps account of what came of it."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import libmpc

BATCHES = (1, 1, 8)
TIMEOUT = 15.0
#: after a failure, so that an outage is not a busy loop
PAUSE = 0.1


class Load(threading.Thread):
    """One client, without retries: what it is told is what counts.

    Attributes:
        right, images: answers that equal the reference, and images in them.
        wrong: answers that do not.
        failures: of the documented kind, by what they were.
        unforeseen: errors of any other kind.
        longest: seconds, of one call.
        answered_since: when the last query that was answered had been asked.
        last_failure: when the last failed query failed.
    """

    def __init__(
        self,
        deployment: Path,
        name: str,
        images: NDArray[Any],
        expected: NDArray[np.float64],
        seed: int,
    ) -> None:
        super().__init__(daemon=True)
        self.right = self.images = self.wrong = 0
        self.failures: Counter[str] = Counter()
        self.unforeseen: list[str] = []
        self.longest = 0.0
        self.answered_since = self.last_failure = 0.0
        self._answers: deque[tuple[float, float]] = deque(maxlen=10_000)
        self._stopping = threading.Event()
        self._deployment = deployment
        self._name = name
        self._inputs, self._expected = images, expected
        self._rng = random.Random(seed)

    def run(self) -> None:
        with libmpc.Client(self._deployment, retries=0, timeout=TIMEOUT) as client:
            while not self._stopping.is_set():
                begin = time.monotonic()
                try:
                    self._ask(client, begin)
                except libmpc.UnavailableError as error:
                    # No status: nobody answered, which only a gateway that was hit may cause.
                    known = {503: "answered 503", None: "gateway lost or silent"}
                    what = known.get(error.status)
                    if what is None:
                        self.unforeseen.append(f"{type(error).__name__} {error.status}: {error}")
                    else:
                        self.failures[what] += 1
                    self._failed()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is to be reported
                    self.unforeseen.append(f"{type(error).__name__}: {error}")
                    self._failed()
                self.longest = max(self.longest, time.monotonic() - begin)

    def _ask(self, client: libmpc.Client, begin: float) -> None:
        size = self._rng.choice(BATCHES)
        at = self._rng.randrange(len(self._inputs) - size)
        logits = client.query(self._name, self._inputs[at : at + size])
        if np.array_equal(logits, self._expected[at : at + size]):
            self.right += 1
            self.images += size
            self._answers.append((begin, time.monotonic()))
            self.answered_since = begin
        else:
            self.wrong += 1

    def _failed(self) -> None:
        self.last_failure = time.monotonic()
        self._stopping.wait(PAUSE)

    def first_answer_after(self, moment: float) -> float:
        """When the first query that was asked after ``moment`` was answered."""
        return next(end for begin, end in list(self._answers) if begin > moment)

    def stop(self) -> None:
        """Ask no more; returns when the last answer is there."""
        self._stopping.set()
        self.join(TIMEOUT + 10)
