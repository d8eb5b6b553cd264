"""The tokens of a gateway elsewhere, as whoever has an admin's token manages them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from libmpc.access import MAX_GRANTS, Grant, TokenState
from libmpc.client.connection import Connection
from libmpc.client.http import Operation
from libmpc.client.retry import RetryPolicy
from libmpc.client.runner import Runner
from libmpc.client.session import Session
from libmpc.errors import IntegrityError, ModelNotFoundError, ServiceError


class _Listed(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)

    tokens: list[TokenState]


def list_tokens(session: Session) -> Operation[list[TokenState]]:
    """Every token of the gateway in use."""
    response = yield from session.call("GET", "/v2/tokens", session.attempts())
    try:
        found = _Listed.model_validate_json(response.body).tokens
    except ValidationError:
        found = None
    if found is None or len(found) > MAX_GRANTS:
        raise IntegrityError("the gateway's answer is no list of tokens; is it a libmpc gateway?")
    return found


def add_token(session: Session, grant: Grant) -> Operation[None]:
    """Let a token in. The same one again changes nothing, so a retry is safe."""
    yield from session.call("POST", "/v2/tokens", session.attempts(), (grant.encode(),))


def revoke_token(session: Session, token: str) -> Operation[None]:
    """Let a token in no more."""
    attempts = session.attempts()
    try:
        yield from session.call("DELETE", f"/v2/tokens/{token}", attempts)
    except ModelNotFoundError as error:
        # A first try whose answer was lost may have done it.
        if not attempts.failures:
            raise ServiceError(str(error), status=404) from None


class Desk:
    """The tokens of a gateway elsewhere; see ``libmpc.access.here.Desk``."""

    def __init__(self, runner: Runner, session: Session) -> None:
        self.deployment = session.connection.deployment
        self._runner = runner
        self._session = session

    def add(self, grant: Grant) -> None:
        """Let a token in."""
        self._runner.run(add_token(self._session, grant))

    def states(self) -> list[TokenState]:
        """Every token."""
        return self._runner.run(list_tokens(self._session))

    def revoke(self, token: str) -> None:
        """Let a token in no more."""
        self._runner.run(revoke_token(self._session, token))


@contextlib.contextmanager
def open_desk(deployment: Path, timeout: float) -> Iterator[Desk]:
    """The tokens of the gateway that a deployment file names.

    Raises:
        ConfigError: a file is missing, wrong or unsafe.
    """
    connection = Connection.open(deployment)
    runner = Runner(connection)
    try:
        yield Desk(runner, Session(connection, RetryPolicy(), timeout, runner.clock))
    finally:
        runner.close()
