"""What a client knows of a model and of the keys to seal to, on the parties' word."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from libmpc.client.http import parse_object
from libmpc.client.retry import UnsettledError
from libmpc.deployment import MAX_TRIPLES, Deployment
from libmpc.errors import InputError, IntegrityError
from libmpc.identity.signing import verify_descriptor
from libmpc.sealing.seal import check_party_key
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.errors import ExpiredError, WireError
from libmpc.wire.keys import PartyKey
from libmpc.wire.lifetime import to_millis
from libmpc.wire.names import is_name
from libmpc.wire.signed import Signed

REFRESH_MS = 10 * 60_000
"""A key with less than this left is fetched anew."""


@dataclass(frozen=True)
class ModelCard:
    """A model's descriptor and both evaluators' keys, verified.

    Attributes:
        state: the gateway's word, good for error messages and nothing else.
        refresh_ms: when to fetch it again (Unix milliseconds).
        fetched_ms: when it was fetched.
        limited: whether its requests are counted; the gateway's word.
        triple: whose keys these are; the gateway's word.
        others: the same card with the keys of other triples.
    """

    descriptor: Descriptor
    keys: tuple[PartyKey, ...]
    state: str
    refresh_ms: int
    fetched_ms: int = 0
    limited: bool = False
    triple: int = 0
    others: tuple[ModelCard, ...] = ()


@dataclass(frozen=True)
class ModelSummary:
    """One model as the gateway lists it. Nobody has signed this.

    Attributes:
        state: ``serving`` or ``stopped``.
        ready: whether a query would be answered now.
        num_requests: how many requests it answers; ``None`` for no limit.
        served: how many it has answered since it was served.
        model: digest of the owner's manifest (hex).
    """

    name: str
    state: str
    ready: bool
    num_requests: int | None
    served: int
    model: str


def check_model_name(name: str) -> str:
    """Return a model's name unchanged.

    Raises:
        InputError: it is none; a path, for example.
    """
    if not isinstance(name, str) or not is_name(name):
        raise InputError(
            f"{name!r} is no model's name: 1 to 63 characters out of a-z, 0-9, '.', '_' and '-', "
            "the first a letter or digit"
        )
    return name


def verify_card(deployment: Deployment, name: str, body: bytes, now: float) -> ModelCard:
    """Believe the metadata of a model that a gateway brings.

    Raises:
        IntegrityError: a document is missing, not signed by its party, for another model or
            deployment, out of date, or malformed.
    """
    found = parse_object(body).get("libmpc")
    if not isinstance(found, dict):
        raise IntegrityError("the gateway's answer has no descriptor; is it a libmpc gateway?")
    signed = _signed(found.get("descriptor"), 2, "descriptor")
    signing_keys = [party.signing_keys for party in deployment.parties[:2]]
    if signed[0].document != signed[1].document:
        raise UnsettledError(
            f"the evaluators describe model {name!r} differently; if it is being replaced, try "
            "again in a moment"
        )
    try:
        descriptor = verify_descriptor(signing_keys, signed, deployment.id, name)
    except WireError as error:
        raise IntegrityError(f"the evaluators' descriptor cannot be used: {error}") from None
    keys = verify_keys(deployment, found.get("keys"), now, parties=2)
    now_ms = to_millis(now)
    ends = min(key.not_after_ms for key in keys)
    # A key that lives no longer than that is used for the first half of what it has left.
    refresh = ends - REFRESH_MS if ends - now_ms > 2 * REFRESH_MS else (now_ms + ends) // 2
    state = found.get("state")
    limited = found.get("num_requests") is not None
    text = state if isinstance(state, str) else ""
    card = ModelCard(descriptor, keys, text, refresh, now_ms, limited, _triple(found))
    return replace(card, others=_others(deployment, found, card, now))


def _others(
    deployment: Deployment, found: dict[str, Any], card: ModelCard, now: float
) -> tuple[ModelCard, ...]:
    others: dict[int, ModelCard] = {}
    more = found.get("more")
    for item in more[:MAX_TRIPLES] if isinstance(more, list) else ():
        if not isinstance(item, dict):
            continue
        # What cannot be believed is left out, as a gateway could have done: one triple with a
        # wrong clock must not keep clients from the others.
        with contextlib.suppress(IntegrityError):
            keys = verify_keys(deployment, item.get("keys"), now, parties=2)
            number = _triple(item)
            if number != card.triple and min(k.not_after_ms for k in keys) > card.refresh_ms:
                others[number] = replace(card, keys=keys, triple=number)
    return tuple(others.values())


def key_set(body: dict[str, Any], triple: int) -> object:
    """The keys of one triple in the gateway's answer, or ``None``."""
    more = body.get("more")
    sets = [body, *(more if isinstance(more, list) else ())]
    return next((s.get("keys") for s in sets if isinstance(s, dict) and _triple(s) == triple), None)


def _triple(found: dict[str, Any]) -> int:
    number = found.get("triple", 0)  # gateways of before there were several do not say
    if type(number) is not int or not 0 <= number < MAX_TRIPLES:
        raise IntegrityError("the gateway's answer is malformed (triple)")
    return number


def verify_keys(
    deployment: Deployment, value: object, now: float, parties: int = 3
) -> tuple[PartyKey, ...]:
    """Believe the keys of the first ``parties`` parties that a gateway brings, in their order.

    Raises:
        IntegrityError: one is missing, not signed by its party, or out of date.
    """
    signed = _signed(value, 3, "keys")
    keys = []
    for party, one in zip(deployment.parties[:parties], signed, strict=False):
        try:
            keys.append(check_party_key(one, party.signing_keys, deployment.id, party.index, now))
        except ExpiredError as error:
            raise IntegrityError(
                f"party {party.index}'s key is not valid at this time ({error}); is this "
                "machine's clock right?"
            ) from None
        except WireError as error:
            raise IntegrityError(f"party {party.index}'s key cannot be used: {error}") from None
    return tuple(keys)


def warn_of_range(descriptor: Descriptor) -> None:
    """Tell a user of a model whose range is not proven."""
    if descriptor.range_status == "calibrated":
        from libmpc.graph.ranges import RangeWarning

        warnings.warn(
            f"the range of model {descriptor.name!r} is calibrated on samples, not proven (margin "
            f"{descriptor.range_margin:g}): an unusual input could be answered wrongly",
            RangeWarning,
            stacklevel=2,
        )


def parse_summaries(body: bytes) -> list[ModelSummary]:
    """The gateway's list of models.

    Raises:
        IntegrityError: it is malformed.
    """
    items = parse_object(body).get("models")
    if not isinstance(items, list):
        raise IntegrityError("the gateway's list of models is malformed")
    return [_summary(item) for item in items]


def _summary(item: Any) -> ModelSummary:
    fields = item if isinstance(item, dict) else {}
    name, state, model = (fields.get(key) for key in ("name", "state", "model"))
    limit, served = fields.get("num_requests"), fields.get("served", 0)
    texts = all(isinstance(text, str) and text.isprintable() for text in (name, state, model))
    if not texts or not isinstance(served, int) or not isinstance(limit, int | None):
        raise IntegrityError("the gateway's list of models is malformed")
    return ModelSummary(
        name=str(name),
        state=str(state),
        ready=fields.get("ready") is True,
        num_requests=limit,
        served=served,
        model=str(model),
    )


def _signed(value: object, count: int, what: str) -> Sequence[Signed]:
    if not isinstance(value, list) or len(value) != count:
        raise IntegrityError(f"the gateway's answer lacks a party's word ({what}); try again later")
    try:
        return [Signed.from_json(item) for item in value]
    except WireError as error:
        raise IntegrityError(f"the gateway's answer is malformed ({what}): {error}") from None
