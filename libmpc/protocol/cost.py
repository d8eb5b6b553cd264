"""What a step costs, declared next to its code and compared with what a channel counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Rounds, and encoded bytes without the channel's own frames.

    Attributes:
        rounds: both evaluators send one message and wait for the other's.
        online_bytes: what each evaluator sends to the other.
        correction_bytes: what the dealer sends to party 1, before the input is known.
    """

    rounds: int = 0
    online_bytes: int = 0
    correction_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.rounds + other.rounds,
            self.online_bytes + other.online_bytes,
            self.correction_bytes + other.correction_bytes,
        )
