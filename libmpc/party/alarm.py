"""A failed audit stops this party until its operator acts; the record outlives the process."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from libmpc.clock import Clock
from libmpc.errors import ConfigError
from libmpc.identity.files import write_private

log = logging.getLogger(__name__)

FILE_NAME = "audit-failed.json"


class Alarm:
    """Says whether an audit has failed.

    Args:
        path: where the record is kept; ``None``: in memory only.
        clock: the time of the record.

    Raises:
        ConfigError: there is a record that cannot be read.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._what = ""
        if path is not None and path.exists():
            try:
                self._what = str(json.loads(path.read_text())["what"])
            except (OSError, ValueError, KeyError, TypeError):
                raise ConfigError(
                    f"{path} cannot be read; see docs/operations.md, Audits"
                ) from None
            log.error("an audit of party 2 has failed before: %s; see %s", self._what, path)

    def __bool__(self) -> bool:
        return bool(self._what)

    def __repr__(self) -> str:
        return f"<Alarm {'raised' if self else 'silent'}>"

    @property
    def reason(self) -> str:
        """Why no query is answered; empty where none is raised."""
        if not self:
            return ""
        return "an audit of party 2 has failed: it is broken or dishonest; operators must look"

    def raise_(self, epoch: str, what: str) -> None:
        """Record a failed audit, durably, and only the first."""
        log.error(
            "an audit of party 2 has FAILED: %s. It is broken or dishonest: answers may have been"
            " wrong. No query is answered until %s is moved away and this party started again",
            what,
            self._path or "the cause is known",
        )
        if self:
            return
        self._what = what
        if self._path is not None:
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock.now()))
            record = {"time": moment, "epoch": epoch, "what": what}
            write_private(self._path, (json.dumps(record, indent=2) + "\n").encode())
