"""From when until when a document counts; the time is always passed in."""

from __future__ import annotations

from libmpc.wire.errors import ExpiredError

MAX_SKEW_MS = 60_000
"""How far the sender's clock may be ahead of ours."""


def to_millis(seconds: float) -> int:
    """Unix seconds to whole milliseconds."""
    return int(seconds * 1000)


def check_lifetime(what: str, issued_ms: int, expires_ms: int, now: float) -> None:
    """Check that ``now`` (Unix seconds) is within a document's lifetime.

    The start allows for clocks that differ by a minute. The end does not: what refuses a second
    use may forget a number once it has passed.

    Raises:
        ExpiredError: it has expired, or comes from the future.
    """
    moment = to_millis(now)
    if moment >= expires_ms:
        raise ExpiredError(f"the {what} has expired; make a new one, or set this clock")
    if issued_ms > moment + MAX_SKEW_MS:
        raise ExpiredError(f"the {what} was made in the future; compare the machines' clocks")


def check_expiry(what: str, expires_ms: int, now: float, longest_ms: int) -> None:
    """Check an expiry that comes without a time of issue, such as an envelope's.

    Raises:
        ExpiredError: it has passed, or is more than ``longest_ms`` (and a minute) away.
    """
    moment = to_millis(now)
    if moment >= expires_ms:
        raise ExpiredError(f"the {what} has expired; seal it again")
    if expires_ms > moment + longest_ms + MAX_SKEW_MS:
        raise ExpiredError(f"the {what} expires too far in the future; compare the clocks")
