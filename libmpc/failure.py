"""How an unforeseen error is told of in a log."""

from __future__ import annotations

import traceback


def describe(error: BaseException) -> str:
    """The error's kind and the lines that led to it.

    SECURITY: without its text, which could hold a value: a share, a mask, an input.
    """
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(frames))
    return f"{type(error).__name__} at {places}" if places else type(error).__name__
