"""Errors of parsing what somebody else sent."""

from __future__ import annotations

from libmpc.errors import LibmpcError


class WireError(LibmpcError):
    """Bytes that arrived are not what the format says. Messages repeat no received value."""


class ExpiredError(WireError):
    """A document or an envelope was made for another time; the sender makes a new one."""
