"""What a role is given when an epoch begins: bounds, secrets, and ways to tell others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Post = Callable[..., None]  # ``Link.post``
Alarm = Callable[[str], None]


@dataclass(frozen=True)
class RoleSettings:
    """Bounds of a party's part in runs.

    Attributes:
        round_timeout: seconds to wait for one message of the other evaluator.
        take_timeout: seconds that a run waits for correlated randomness.
        pool: how many bundles to keep ready for a model that is in use, by batch size.
        max_pool_bytes: memory for all bundles together.
        stream_bytes: a bundle that takes more memory is streamed: dealt and spent step by step.
        stream_window: bytes of a streamed bundle that may wait at a party.
        streams: runs with a streamed bundle at the same time.
        audit: the share of pooled bundles that party 0 has audited.
        limited: whether models with a limit of requests are answered; in triple 0 only.
    """

    round_timeout: float = 5.0
    take_timeout: float = 20.0
    pool: Mapping[int, int] = field(default_factory=lambda: {1: 32, 8: 8, 32: 3, 128: 2})
    max_pool_bytes: int = 96 << 20
    stream_bytes: int = 64 << 20
    stream_window: int = 64 << 20
    streams: int = 2
    audit: float = 0.0
    limited: bool = True


@dataclass(frozen=True)
class EpochSecrets:
    """What an evaluator's streams come from within one epoch."""

    epoch: bytes
    correlated: bytes = field(repr=False)  # shared with the dealer
    leaving: bytes = field(repr=False)  # shared with the other evaluator
