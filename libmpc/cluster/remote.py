"""A deployment whose parties run elsewhere, as the owner of models uses it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from libmpc.access import Role, TokenState, check_id, make_grant, parse_expiry
from libmpc.client.connection import Connection
from libmpc.client.retry import RetryPolicy
from libmpc.client.runner import Runner
from libmpc.client.session import Session
from libmpc.cluster.operations import OwnerSession
from libmpc.cluster.policy import Policy
from libmpc.cluster.served import ServedModel, checked_count
from libmpc.cluster.tokens import Desk
from libmpc.errors import ConfigError, InputError, ModelError
from libmpc.wire.lifetime import to_millis

if TYPE_CHECKING:
    import httpx

    from libmpc.client.card import ModelSummary
    from libmpc.client.runner import PausingClock
    from libmpc.client.shell import Progress
    from libmpc.graph.model import Model

PUSH_SECONDS = 900.0


class Cluster:
    """Shares models with the parties of a deployment, and says which of them are served.

    Thread-safe. What an owner asks for is signed with the key in the credential file beside the
    deployment file. Requests are tried again as ``Client`` does it; commands and manifests are
    signed once and sent again as they are, so that a retry changes nothing twice.

    Args:
        deployment: path of the deployment file, or of its directory; by default what the
            environment variable ``LIBMPC_DEPLOYMENT`` says.
        timeout: seconds for a call other than ``share``, retries included.
        retries: a number, or a ``RetryPolicy``.
        clock, transport: seams for tests.

    Raises:
        ConfigError: a file is missing, wrong or unsafe.
    """

    def __init__(
        self,
        deployment: str | os.PathLike[str] | None = None,
        *,
        timeout: float = 30.0,
        retries: int | RetryPolicy = 3,
        clock: PausingClock | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        connection = Connection.open(deployment)
        if connection.path is None:
            raise ConfigError("give the deployment file's path: the owner's key is beside it")
        self._path = connection.path
        self._runner = Runner(connection, clock, transport)
        policy = retries if isinstance(retries, RetryPolicy) else RetryPolicy(retries)
        self._session = Session(connection, policy, timeout, self._runner.clock)
        self._owner = OwnerSession(self._session)
        self._tokens = Desk(self._runner, self._session)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, timeout: float = 30.0) -> Self:
        """Open the deployment that a file describes.

        Raises:
            ConfigError: as for the constructor.
        """
        return cls(path, timeout=timeout)

    @property
    def deployment(self) -> Path:
        """The deployment file, which is what a ``Client`` wants."""
        return self._path

    def share(
        self,
        model: Model,
        name: str | None = None,
        *,
        replace: bool = False,
        serve: bool = False,
        num_requests: int | None = None,
        output: str = "logits",
        timeout: float = PUSH_SECONDS,
        progress: Progress | None = None,
    ) -> ServedModel:
        """Share a model's weights among the three parties, under fresh masks.

        Returns when the model is stored durably at all three.

        Args:
            model: from ``load_model``.
            name: what clients will call it; by default the model's own name.
            replace: take over the name of a model that is stored already.
            serve: answer queries at once; otherwise call ``serve`` on what is returned.
            num_requests: with ``serve``, how many requests it answers; ``None`` for no limit.
            output: the most that answers may tell: ``"logits"``, ``"label"``, ``"topk:3"``,
                rounded ``"scores:8"``, or of many samples together ``"confusion"`` or ``"count"``,
                with ``"count:100"`` of 100 or more; both evaluators refuse more, whoever asks.
            timeout: seconds for everything.
            progress: called with (bytes sent, bytes in all) during an upload that takes a while.

        Raises:
            ConflictError: the name is in use, and ``replace`` was not asked for.
            InputError: the name or ``num_requests`` is not valid.
            ConfigError: there is no owner's key.
            ServiceError: the deployment refused or did not answer.
        """
        from libmpc.graph.model import Model

        if not isinstance(model, Model):
            raise ModelError(
                f"share takes a model, not {type(model).__name__}: load it first, with "
                "libmpc.load_model(path, input_range=(low, high))"
            )
        name = model.name if name is None else name
        if num_requests is not None and not serve:
            raise InputError("num_requests goes with serve=True, or with ServedModel.serve")
        policy = Policy(serve, checked_count(num_requests), output=output)
        operation = self._owner.share(model, name, policy, replace, timeout)
        return self._served(name, self._runner.run(operation, progress))

    def models(self) -> list[ModelSummary]:
        """The models that the gateway lists, with their state.

        Raises:
            ServiceError: the deployment refused or did not answer.
        """
        return self._runner.run(self._session.models())

    def model(self, name: str) -> ServedModel:
        """A model that was shared before.

        Raises:
            ModelNotFoundError: no model of that name is stored.
            ServiceError: the deployment refused or did not answer.
        """
        return self._served(name, self._runner.run(self._owner.digest(name)))

    def stored(self, name: str) -> list[ServedModel]:
        """All that the gateway lists under a name, also what is "incomplete".

        That is one model, unless parties have missed a push. Stop and delete work with what not all
        parties hold; ``model`` asks for both evaluators' word, which is then missing.

        Raises:
            ModelNotFoundError: no model of that name is stored.
            ServiceError: the deployment refused or did not answer.
        """
        return [self._served(name, one) for one in self._runner.run(self._owner.listed(name))]

    def _served(self, name: str, model: str) -> ServedModel:
        return ServedModel(name, model, self._runner, self._owner)

    def tokens(self) -> list[TokenState]:
        """The tokens that the gateway knows, without their secrets. Needs an admin's token.

        Raises:
            AuthenticationError: this token's role is another one.
            ServiceError: the deployment refused or did not answer.
        """
        return self._tokens.states()

    def create_token(
        self,
        name: str,
        role: Role = "client",
        *,
        expires: str | None = None,
        models: Sequence[str] | None = None,
        images: int | None = None,
        images_per_minute: int | None = None,
        requests_per_minute: int | None = None,
    ) -> str:
        """Make a token for somebody; it is returned and kept nowhere. Needs an admin's token.

        It is made here, and the gateway gets its hash.

        Args:
            name: whose it is, for people: lower-case letters, digits, ``.``, ``_``, ``-``.
            role: "client" asks queries; "owner" also manages models, together with an owner's key;
                "admin" also manages tokens.
            expires: ``"12h"``, ``"90d"``, ``"4w"`` or the last day, ``"2030-12-31"``.
            models: for clients, the models that it may see; ``None`` for all.
            images: how many of each model it may have answered, in all.
            images_per_minute, requests_per_minute: of all models together.

        Raises:
            InputError: an argument is not valid.
            AuthenticationError: this token's role is another one.
            ServiceError: the deployment refused or did not answer.
        """
        now_ms = to_millis(self._runner.clock.now())
        token, grant = make_grant(
            name,
            role,
            now_ms,
            expires_ms=None if expires is None else parse_expiry(expires, now_ms),
            models=models,
            images=images,
            images_per_minute=images_per_minute,
            requests_per_minute=requests_per_minute,
        )
        self._tokens.add(grant)
        return token.get_secret_value()

    def revoke_token(self, token: str) -> None:
        """Let the token of that id in no more, from the next request on. Needs an admin's token.

        Raises:
            InputError: that is no token's id.
            AuthenticationError: this token's role is another one.
            ServiceError: there is none, or the deployment refused or did not answer.
        """
        self._tokens.revoke(check_id(token))

    def close(self) -> None:
        """Close all connections."""
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._path)!r})"
