"""One model that a deployment holds, as its owner serves, stops and deletes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libmpc.client.runner import Runner
from libmpc.cluster.operations import Action, OwnerSession
from libmpc.errors import InputError

if TYPE_CHECKING:
    from libmpc.wire.descriptor import Descriptor


@dataclass(frozen=True)
class ServedModel:
    """A model that the parties of a deployment hold in shares.

    It stands for one push: once another model has replaced it, its methods raise
    ``ModelNotFoundError``.

    Attributes:
        model: digest of its manifest (hex).
    """

    name: str
    model: str
    _runner: Runner = field(repr=False, compare=False)
    _owner: OwnerSession = field(repr=False, compare=False)

    def serve(self, num_requests: int | None = None) -> None:
        """Answer queries: so many requests from now on, or without a limit until stopped.

        Doing it again counts from the start.

        Raises:
            InputError: ``num_requests`` is not a positive whole number.
            ServiceError: not all three parties have applied it.
        """
        self._command("serve", checked_count(num_requests))

    def stop(self) -> None:
        """Answer no more queries; the parties keep their shares.

        Raises:
            ServiceError: not all three parties have applied it.
        """
        self._command("stop", None)

    def delete(self) -> None:
        """Make all three parties delete their shares.

        Raises:
            ServiceError: not all three parties have applied it.
        """
        self._command("delete", None)

    def describe(self) -> Descriptor:
        """The model's descriptor, as both evaluators have signed it.

        Raises:
            ServiceError: the deployment refused or did not answer.
        """
        return self._runner.run(self._owner.describe(self.name))

    def _command(self, action: Action, num_requests: int | None) -> None:
        self._runner.run(self._owner.command(self.name, self.model, action, num_requests))


def checked_count(num_requests: int | None) -> int | None:
    """How many requests a model is to answer; ``None`` for no limit.

    Raises:
        InputError: it is not a positive whole number.
    """
    if num_requests is None:
        return None
    if isinstance(num_requests, bool) or not isinstance(num_requests, int) or num_requests < 1:
        raise InputError("num_requests must be a positive whole number, or None for no limit")
    return num_requests
