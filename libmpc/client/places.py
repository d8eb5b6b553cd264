"""Which triple a client's next query is sealed for.

A query is sealed to the keys of one triple and can be answered by no other. The gateway hands out
the keys of all that are ready, and says with every answer which has the least to do. That is its
word alone, and worth no more than that: it decides where a query waits, never who can read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from libmpc.client.card import ModelCard
from libmpc.client.retry import NOT_HERE
from libmpc.errors import ServiceError, UnavailableError

HINT = "libmpc-triple"
#: a card that lacks the triple of a hint is fetched anew, so often at most
STALE_MS = 10_000
#: what another triple would answer no better
_SAME_ELSEWHERE = ("memory_full", "stopping", "tokens", "late", NOT_HERE)


@dataclass
class Pin:
    """Queries that belong together and must go to one triple: the first that answers."""

    triple: int | None = None


class Places:
    """What one client knows of triples. Thread-safe."""

    def __init__(self) -> None:
        self._next: int | None = None

    def choose(
        self, card: ModelCard, failed: AbstractSet[int], pin: Pin | None = None
    ) -> ModelCard:
        """The card with the keys to seal to.

        Args:
            failed: triples that have not answered this query.
            pin: where it has to go.

        Raises:
            UnavailableError: the triple of the pin is not ready.
        """
        if pin is not None and pin.triple is not None:
            for one in (card, *card.others):
                if one.triple == pin.triple:
                    return one
            raise UnavailableError(
                f"triple {pin.triple}, which has what was sent before, does not answer; if it stays"
                " so, begin again",
                status=503,
                retry_after=1.0,
            )
        if not card.others:
            return card
        left = [one for one in (card, *card.others) if one.triple not in failed]
        left = left or [card, *card.others]
        return next((one for one in left if one.triple == self._next), left[0])

    def follow(self, card: ModelCard, headers: Mapping[str, str], now_ms: int) -> bool:
        """Go by the hint of an answer; says whether the card is out of date.

        Args:
            card: as it was fetched.
            headers: of the answer.
        """
        text = headers.get(HINT)
        if text is None or card.limited or not (text.isascii() and text.isdigit()):
            return False
        self._next = int(text[:4])
        if any(one.triple == self._next for one in (card, *card.others)):
            return False
        return now_ms - card.fetched_ms > STALE_MS

    def lost(
        self,
        card: ModelCard,
        place: ModelCard,
        error: ServiceError,
        failed: set[int],
        pin: Pin | None = None,
    ) -> bool:
        """Whether another triple may answer what this one has not; it is next then.

        Args:
            card: as it was fetched.
            place: what was chosen of it.
            failed: gets that triple.
            pin: where it has to go.
        """
        if pin is not None and pin.triple is not None:
            return False
        if error.status != 503 or error.code in _SAME_ELSEWHERE:
            return False
        failed.add(place.triple)
        left = [one.triple for one in (card, *card.others) if one.triple not in failed]
        if left and self._next in (place.triple, None):
            self._next = left[0]
        return bool(left)
