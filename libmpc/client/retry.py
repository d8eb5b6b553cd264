"""When a client tries again, and when that would be wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from libmpc.client.http import LostError
from libmpc.errors import ConflictError, IntegrityError, LimitError, ServiceError, UnavailableError

MAX_CONFLICTS = 2
#: the error of a triple that does not answer this model's queries
NOT_HERE = "not_here"


class UnsettledError(IntegrityError):
    """The evaluators say different things of a model, as while it is being replaced."""


class ReplacedError(ConflictError):
    """A model is not the one that the first of several queries went to: no other try will help."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and after what pauses.

    Attributes:
        retries: how many times at most, after the first try.
        first: seconds before the first retry; each further pause is twice as long.
        longest: the longest pause, unless the deployment asks for a longer one.
    """

    retries: int = 3
    first: float = 0.2
    longest: float = 5.0

    def __post_init__(self) -> None:
        if self.retries < 0 or self.first < 0 or self.longest < 0:
            raise ValueError("a number of retries and its pauses must not be negative")


class Attempts:
    """The tries of one call, and the time that is left for them.

    Args:
        timeout: seconds for everything, pauses included.
        monotonic: seconds from any start.

    Attributes:
        failures: how many tries have failed and were followed by another one.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        timeout: float,
        monotonic: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        check_timeout(timeout)
        self._policy = policy
        self._monotonic = monotonic
        self._jitter = jitter
        self._deadline = monotonic() + timeout
        self.failures = 0
        self._conflicts = 0

    @property
    def remaining(self) -> float:
        """Seconds that are left, at least a millisecond."""
        return max(0.001, self._deadline - self._monotonic())

    def after(self, error: ServiceError, elsewhere: bool = False) -> float:
        """The pause before the next try.

        Args:
            elsewhere: somebody else is asked then, who need not be waited for.

        Raises:
            ServiceError: the given one, if there must be no next try.
        """
        if isinstance(error, (ConflictError, UnsettledError)) or error.code == NOT_HERE:
            self._conflicts += 1
            if self._conflicts > MAX_CONFLICTS:
                raise error
            pause = 0.0 if self._conflicts == 1 else self._policy.first
        else:
            if not is_passing(error) or self.failures >= self._policy.retries:
                raise error
            pause = min(self._policy.longest, self._policy.first * 2**self.failures)
            self.failures += 1
            # Clients that failed together must not come back together.
            pause *= 0.5 + 0.5 * self._jitter()
            if error.retry_after is not None:
                pause = max(pause, error.retry_after * (1 + 0.1 * self._jitter()))
            if elsewhere:
                pause = 0.0
        if self._monotonic() + pause >= self._deadline:
            raise error
        return pause


def check_timeout(seconds: float) -> None:
    """Check a timeout.

    Raises:
        ValueError: it is not positive, or not finite.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError("a timeout must be a number of seconds greater than 0")


def is_passing(error: ServiceError) -> bool:
    """Whether it may go away by itself: a lost connection, or an answer that says when to retry.

    SECURITY: an answer that could not be opened or verified is not among them. A retry would show
    whoever tampered with it whether the client noticed.
    """
    if isinstance(error, LostError):
        return True
    asked = error.retry_after is not None
    return asked and isinstance(error, (UnavailableError, LimitError))
