"""A deployment as its gateway describes it, at one moment. Nobody has signed this."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from libmpc.client.card import ModelSummary, parse_summaries
from libmpc.client.http import Operation, parse_object
from libmpc.errors import IntegrityError, ModelNotFoundError, ServiceError

if TYPE_CHECKING:
    from libmpc.client.session import Session

T = TypeVar("T")
_MAX_TEXT = 500


@dataclass(frozen=True)
class PoolState:
    """Bundles of one model that are ready at an evaluator, for runs of ``batch`` images."""

    model: str
    batch: int
    ready: int


@dataclass(frozen=True)
class PartyState:
    """One process of a party; ``None`` is what it does not say, since it is down or older.

    Attributes:
        up: whether the gateway has a link to it.
        reason: why it is not ready; empty when it is.
        epoch: the first digits of its epoch's id.
        uptime: seconds.
        clock: Unix seconds.
    """

    party: int
    up: bool
    ready: bool
    reason: str
    version: str | None
    epoch: str | None
    uptime: float | None
    clock: float | None
    pools: tuple[PoolState, ...]


@dataclass(frozen=True)
class TripleState:
    """One process of each party, which answer queries together."""

    triple: int
    ready: bool
    reason: str
    parties: tuple[PartyState, ...]


@dataclass(frozen=True)
class GatewayState:
    """The gateway that was asked.

    Attributes:
        uptime: seconds.
        clock: Unix seconds.
        waiting, batches: queries that wait, batches under way; ``None``: not for this token.
        queries: since its start, by how they ended; empty: not for this token.
    """

    version: str
    uptime: float
    clock: float
    waiting: int | None
    batches: int | None
    queries: dict[str, int]


@dataclass(frozen=True)
class TokenLimits:
    """What the token in use may do; ``None`` is no limit.

    Attributes:
        expires: Unix seconds.
        models: the only ones that it may see and ask.
        images: of each model, in all.
        used: images that count towards ``images``, by model.
    """

    role: str
    expires: float | None
    models: tuple[str, ...] | None
    images: int | None
    images_per_minute: int | None
    requests_per_minute: int | None
    used: dict[str, int]


@dataclass(frozen=True)
class Status:
    """A deployment at one moment.

    Attributes:
        ready: whether queries can be answered.
        reason: why not; empty when they can.
        models: those that the token may see.
    """

    ready: bool
    reason: str
    gateway: GatewayState
    token: TokenLimits
    triples: tuple[TripleState, ...]
    models: tuple[ModelSummary, ...]

    def pools(self, model: str) -> dict[int, int]:
        """Bundles that are ready by batch size: at both evaluators, of all triples together."""
        found: dict[int, int] = {}
        for triple in self.triples:
            levels = [
                {pool.batch: pool.ready for pool in party.pools if pool.model == model}
                for party in triple.parties[:2]
            ]
            for batch in set().union(*levels):
                least = min(level.get(batch, 0) for level in levels)
                found[batch] = found.get(batch, 0) + least
        return dict(sorted(found.items()))


def ask_status(session: Session) -> Operation[Status]:
    """The gateway's answer, asked for once.

    Raises:
        ServiceError: there is none, or the gateway is older than this.
    """
    try:
        response = yield from session.once("GET", "/v2/status", session.attempts())
    except ModelNotFoundError as error:
        text = f"the gateway at {session.gateway} is older than 'libmpc status'; update it"
        raise ServiceError(text, status=error.status) from None
    return parse_status(response.body)


def parse_status(body: bytes) -> Status:
    """The gateway's answer. What it says beyond this is ignored: it may be newer.

    Raises:
        IntegrityError: it is malformed.
    """
    found = parse_object(body)
    return Status(
        ready=_get(found, "ready", bool),
        reason=_text(found, "reason"),
        gateway=_gateway(_get(found, "gateway", dict)),
        token=_token(_get(found, "token", dict)),
        triples=tuple(_triple(one) for one in _list(found, "triples")),
        models=tuple(parse_summaries(body)),
    )


def _gateway(found: dict[str, Any]) -> GatewayState:
    load = found.get("load")
    known = load if isinstance(load, dict) else {}
    return GatewayState(
        version=_text(found, "version"),
        uptime=_seconds(found, "uptime_seconds"),
        clock=_get(found, "clock_ms", int) / 1000,
        waiting=_get(known, "waiting", int) if known else None,
        batches=_get(known, "batches", int) if known else None,
        queries=_counts(known, "queries") if known else {},
    )


def _token(found: dict[str, Any]) -> TokenLimits:
    def limit(key: str) -> int | None:
        return None if found.get(key) is None else _get(found, key, int)

    expires = limit("expires_ms")
    models = None if found.get("models") is None else _get(found, "models", list)
    return TokenLimits(
        role=_text(found, "role"),
        expires=None if expires is None else expires / 1000,
        models=None if models is None else tuple(_printable(str(name)) for name in models),
        images=limit("images"),
        images_per_minute=limit("images_per_minute"),
        requests_per_minute=limit("requests_per_minute"),
        used=_counts(found, "used"),
    )


def _counts(found: dict[str, Any], key: str) -> dict[str, int]:
    counts = _get(found, key, dict)
    if not all(isinstance(number, int) for number in counts.values()):
        raise _malformed()
    return {_printable(name): number for name, number in counts.items()}


def _triple(found: Any) -> TripleState:
    parties = tuple(_party(one) for one in _list(found, "parties"))
    if len(parties) != 3:
        raise _malformed()
    return TripleState(
        triple=_get(found, "triple", int),
        ready=_get(found, "ready", bool),
        reason=_text(found, "reason"),
        parties=parties,
    )


def _party(found: Any) -> PartyState:
    uptime, clock = found.get("uptime_seconds"), found.get("clock_ms")
    return PartyState(
        party=_get(found, "party", int),
        up=_get(found, "up", bool),
        ready=_get(found, "ready", bool),
        reason=_text(found, "reason"),
        version=None if found.get("version") is None else _text(found, "version"),
        epoch=None if found.get("epoch") is None else _text(found, "epoch"),
        uptime=None if uptime is None else _seconds(found, "uptime_seconds"),
        clock=None if clock is None else _get(found, "clock_ms", int) / 1000,
        pools=tuple(
            PoolState(_text(one, "model"), _get(one, "batch", int), _get(one, "ready", int))
            for one in _list(found, "pools")
        ),
    )


def _list(found: Any, key: str) -> Sequence[dict[str, Any]]:
    items = _get(found, key, list)
    if not all(isinstance(item, dict) for item in items):
        raise _malformed()
    return items


def _text(found: dict[str, Any], key: str) -> str:
    return _printable(_get(found, key, str))


def _printable(text: str) -> str:
    """Fit for a terminal: whoever made it may say what they like."""
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT])


def _get(found: dict[str, Any], key: str, kind: type[T]) -> T:
    value = found.get(key)
    # In JSON true is no number, although Python says so.
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise _malformed()
    return value


def _seconds(found: dict[str, Any], key: str) -> float:
    value = found.get(key)
    return float(value if isinstance(value, float) else _get(found, key, int))


def _malformed() -> IntegrityError:
    return IntegrityError("the gateway's status is malformed; is it a libmpc gateway?")
