"""What an owner tells the parties to do with a model that they hold."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from libmpc.wire.document import Document
from libmpc.wire.fields import MAX_LIFETIME_MS, Count, Hex16, Hex32, Millis, Name


class Command(Document):
    """Serve, stop or delete a model; signed by the model's owner.

    A command is not sealed, so whoever carries it can keep it: a party remembers, across restarts,
    the last one that it applied to a model, and refuses any other that was not issued later.
    ``command_id`` makes two commands of one millisecond differ.
    """

    LABEL: ClassVar[str] = "command"

    deployment: Hex16
    name: Name
    model: Hex32
    action: Literal["serve", "stop", "delete"]
    num_requests: Count | None = None
    command_id: Hex16
    issued_ms: Millis
    expires_ms: Millis

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_requests is not None and self.action != "serve":
            raise ValueError("only serving has a limit")
        if not 0 < self.expires_ms - self.issued_ms <= MAX_LIFETIME_MS:
            raise ValueError("the lifetime is empty or longer than an hour")
        return self
