"""How a pushed model begins its life."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """What the owner decides at a push.

    Attributes:
        serve: answer as soon as it is stored.
        num_requests: how many requests, where it is served; ``None`` for no limit.
        output: the most that answers may tell (see ``libmpc.outputs``).
        replace: digest (hex) of the model whose name it takes over.
    """

    serve: bool = False
    num_requests: int | None = None
    replace: str | None = None
    output: str = "logits"
