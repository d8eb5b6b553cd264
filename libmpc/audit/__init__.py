"""A party's log of who asked for what, as a chain of hashes: no payload, and nothing secret."""

from __future__ import annotations

from libmpc.audit.reader import BrokenLogError, Checked, Follow, check
from libmpc.audit.record import GENESIS, Event, Record, head
from libmpc.audit.writer import AuditLog, AuditSettings

__all__ = [
    "GENESIS",
    "AuditLog",
    "AuditSettings",
    "BrokenLogError",
    "Checked",
    "Event",
    "Follow",
    "Record",
    "check",
    "head",
]
