"""Connections to PostgreSQL on which no statement waits for ever."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen

T = TypeVar("T")


class Bounded(psycopg.Connection[tuple[Any, ...]]):
    """A connection that gives up on a server that does not answer within ``patience`` seconds."""

    patience = math.inf

    def wait(self, gen: PQGen[T], interval: float = 0.1, *args: Any, **kwargs: Any) -> T:
        return super().wait(_until(gen, time.monotonic() + self.patience), interval)


def _until(gen: PQGen[T], deadline: float) -> PQGen[T]:
    """The same steps; psycopg takes one at least every ``interval`` seconds."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise psycopg.OperationalError("the server does not answer")
            wanted = gen.send(ready)
    except StopIteration as done:
        result: T = done.value
        return result


def connect(parameters: Mapping[str, str], patience: float) -> Bounded:
    """A new connection.

    Raises:
        psycopg.Error: there is none.
    """
    seconds = f"{max(2, math.ceil(patience))}"  # libpq knows no less
    limits = {"connect_timeout": seconds, "keepalives_idle": "5", "keepalives_interval": "2"}
    # Prepared statements are kept by a server's connection, which a pooler gives to somebody else.
    made = Bounded.connect(
        "",
        autocommit=True,
        prepare_threshold=None,
        **(limits | dict(parameters)),  # type: ignore[arg-type]
    )
    made.patience = patience
    return made
