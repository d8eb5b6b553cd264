"""Logging of a service: text for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from libmpc.errors import ConfigError
from services.common.exchange import current

_LEVELS = ("debug", "info", "warning", "error")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class TextFormatter(logging.Formatter):
    """A line for people; at its end what the record has as ``fields``, and its request's id."""

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        text, request = super().format(record), current().id
        more: Mapping[str, Any] = getattr(record, "fields", {})
        text += "".join(f" {name}={value}" for name, value in more.items())
        return f"{text} [{request}]" if request else text


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time (RFC 3339, UTC), level, logger, service, message; and where
    there is one the request's id, the error, and what the record has as ``fields``.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        if request := current().id:
            fields["request"] = request
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        more: Mapping[str, Any] = getattr(record, "fields", {})
        return json.dumps({**more, **fields})


def setup_logging(
    service: str, *, level: str = "info", as_json: bool = False, stream: TextIO | None = None
) -> None:
    """Send this process's log to ``stream`` (stderr).

    Args:
        service: the name of this service in JSON logs, such as ``party0``.
        level: debug, info, warning or error.

    Raises:
        ConfigError: there is no such level.
    """
    if level not in _LEVELS:
        raise ConfigError(f"log_level must be one of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service) if as_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for quiet in ("uvicorn", "httpx", "httpcore", "numba", "asyncio"):
        logging.getLogger(quiet).setLevel(logging.WARNING)
