"""Errors of sealed envelopes."""

from __future__ import annotations

from libmpc.errors import LibmpcError


class SealError(LibmpcError):
    """An envelope cannot be sealed or opened; the message is the same whatever the reason."""


class UnknownKeyError(SealError):
    """An envelope is sealed to a key that is gone or never was; fetch the new one, seal again."""
