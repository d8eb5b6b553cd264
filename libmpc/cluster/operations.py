"""What an owner asks of a deployment, without sockets and sleeping; see ``client.session``."""

from __future__ import annotations

import re
import secrets
import threading
from dataclasses import replace as replace_field
from typing import TYPE_CHECKING, Literal

from libmpc.client.card import check_model_name
from libmpc.client.http import Operation, Pause
from libmpc.client.retry import Attempts
from libmpc.client.session import Session
from libmpc.cluster.policy import Policy
from libmpc.errors import (
    ConfigError,
    ConflictError,
    IntegrityError,
    ModelNotFoundError,
    ServiceError,
    UnavailableError,
)
from libmpc.identity.signing import SigningKey
from libmpc.wire.command import Command
from libmpc.wire.lifetime import to_millis
from libmpc.wire.signed import Signed

if TYPE_CHECKING:
    from libmpc.cluster.push import Push
    from libmpc.graph.model import Model
    from libmpc.wire.descriptor import Descriptor

Action = Literal["serve", "stop", "delete"]
COMMAND_LIFETIME_MS = 10 * 60_000
#: the error when a change is made, but not at all triples yet
FOLLOWS = "follows"
_DIGEST = re.compile("[0-9a-f]{64}")
CONFIRM_TRIES, CONFIRM_SECONDS = 50, 0.2


class OwnerSession:
    """Signs and sends what only an owner may ask for. Thread-safe."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._last_issued_ms = 0

    def share(
        self, model: Model, name: str, policy: Policy, replace: bool, timeout: float
    ) -> Operation[str]:
        """Push a model; returns its digest (hex) once both evaluators vouch for it.

        The same signed manifest is sent, sealed anew, until the push has succeeded or failed for
        good, so that a lost answer cannot store the model twice.
        """
        # Serving and stopping need neither importers nor a compiler, so they do not load them.
        from libmpc.cluster.push import make_push, seal_push

        session, owner = self._session, self._owner()
        check_model_name(name)
        attempts = session.attempts(timeout)
        stored = yield from self._stored(name, attempts)
        if stored is not None and not replace:
            raise ConflictError(
                f"the name {name!r} is in use; choose another, or replace that model "
                "(replace=True, --replace)",
                status=409,
            )
        policy = replace_field(policy, replace=stored)
        deployment = session.connection.deployment.id
        push = make_push(model, name, deployment, owner, policy, session.clock.now())
        while True:
            key_ids: tuple[str, ...] = ()
            try:
                keys = yield from session.keys(attempts)
                key_ids = tuple(key.key_id for key in keys)
                parts = seal_push(push, deployment, keys, session.clock.now())
                path, headers = f"/v2/models/{name}", {"Content-Type": "application/octet-stream"}
                yield from session.once("PUT", path, attempts, parts, headers)
                break
            except ConflictError as error:
                # Old keys are a reason to seal again; a name that is in use is none.
                if (yield from self._key_ids(attempts)) == key_ids:
                    raise
                yield from session.pause(attempts, error)
            except ServiceError as error:
                if error.code == FOLLOWS:
                    raise  # it is stored: nothing would come of sending all of it again
                yield from session.pause(attempts, error)
        yield from self._confirm(push, name, attempts)
        return push.model

    def command(
        self, name: str, model: str, action: Action, num_requests: int | None
    ) -> Operation[None]:
        """Sign a command and send it until all three parties have applied it.

        The same signed bytes are sent at each try: applying them twice changes nothing.
        """
        session = self._session
        issued = self._next_issued_ms()
        command = Command(
            deployment=session.connection.deployment.id.hex(),
            name=name,
            model=model,
            action=action,
            num_requests=num_requests,
            command_id=secrets.token_hex(16),
            issued_ms=issued,
            expires_ms=issued + COMMAND_LIFETIME_MS,
        )
        body = _json(self._owner().sign_document(command))
        path = f"/v2/models/{name}/{action}"
        attempts = session.attempts()
        try:
            yield from session.call("POST", path, attempts, (body,))
        except ModelNotFoundError:
            # A first try whose answer was lost may have deleted it.
            if action != "delete" or not attempts.failures:
                raise

    def digest(self, name: str) -> Operation[str]:
        """The digest of the model of that name, on both evaluators' word."""
        return (yield from self.describe(name)).model

    def describe(self, name: str) -> Operation[Descriptor]:
        """The descriptor of the model of that name, as both evaluators have signed it."""
        return self._session.describe(name)

    def listed(self, name: str) -> Operation[tuple[str, ...]]:
        """The digests of all models that the gateway lists under a name.

        More than one where parties have missed a push; none of them may be complete. Nobody has
        signed that list: a gateway that lies in it can have a model of this name spared, as it can
        by keeping a command to itself, and no model of another name touched, since parties compare
        both with what they hold.
        """
        check_model_name(name)
        found = yield from self._session.models()
        models = tuple(one.model for one in found if one.name == name)
        if not models:
            raise ModelNotFoundError(f"there is no model {name!r}", status=404)
        if not all(_DIGEST.fullmatch(model) for model in models):
            raise IntegrityError("the gateway's list of models is malformed")
        return models

    def _owner(self) -> SigningKey:
        owner = self._session.connection.owner
        if owner is None:
            raise ConfigError(
                "sharing, serving, stopping and deleting need an owner's key: put the owner's "
                "credential file (credentials.yaml) beside the deployment file"
            )
        return owner

    def _next_issued_ms(self) -> int:
        """Strictly increasing: parties obey a command only if it is newer than the last one."""
        with self._lock:
            now = to_millis(self._session.clock.now())
            self._last_issued_ms = max(now, self._last_issued_ms + 1)
            return self._last_issued_ms

    def _stored(self, name: str, attempts: Attempts) -> Operation[str | None]:
        """The digest of the model that has the name, on both evaluators' word, or ``None``."""
        while True:
            try:
                card = yield from self._session.fetch_card(name, attempts)
                return card.descriptor.model
            except ModelNotFoundError:
                return None
            except ServiceError as error:
                yield from self._session.pause(attempts, error)

    def _key_ids(self, attempts: Attempts) -> Operation[tuple[str, ...]]:
        keys = yield from self._session.keys(attempts)
        return tuple(key.key_id for key in keys)

    def _confirm(self, push: Push, name: str, attempts: Attempts) -> Operation[None]:
        """Wait until both evaluators describe the model: a gateway's word is not enough."""
        for _ in range(CONFIRM_TRIES):
            if (yield from self._stored(name, attempts)) == push.model:
                return
            yield Pause(CONFIRM_SECONDS)
        raise UnavailableError(
            f"the gateway says that {name!r} is stored, but the evaluators do not; look at "
            "'libmpc models', and share it again if it is not there"
        )


def _json(signed: Signed) -> bytes:
    return signed.model_dump_json().encode()
