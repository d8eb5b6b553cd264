"""Everything a client does, without sockets and without sleeping.

An operation is a generator: it yields a ``Request`` or a ``Pause``, is sent the ``Response`` (or an
exception is thrown into it), and returns its result. So the blocking and the asynchronous client
share every decision, and a test can play the network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from libmpc.client.allowed import allowed
from libmpc.client.card import (
    ModelCard,
    ModelSummary,
    check_model_name,
    key_set,
    parse_summaries,
    verify_card,
    verify_keys,
    warn_of_range,
)
from libmpc.client.connection import Connection
from libmpc.client.final import Answer, finish
from libmpc.client.gateways import Gateways
from libmpc.client.http import (
    MAX_ANSWER,
    Operation,
    Pause,
    Response,
)
from libmpc.client.infer import Sealed
from libmpc.client.places import Pin, Places
from libmpc.client.retry import Attempts, ReplacedError, RetryPolicy, check_timeout
from libmpc.client.sealed import SealedQuery, encode_batch, seal_query
from libmpc.client.sending import send_sealed
from libmpc.clock import Clock
from libmpc.errors import (
    ConflictError,
    IntegrityError,
    ModelNotFoundError,
    ServiceError,
    UnavailableError,
)
from libmpc.tracing import Provider, Tracing
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.keys import PartyKey
from libmpc.wire.lifetime import to_millis

T = TypeVar("T")


class Session:
    """One deployment as a client sees it: what it pins, and what it has verified so far.

    Thread-safe: operations of several threads share the verified cards and nothing else.
    """

    def __init__(
        self,
        connection: Connection,
        policy: RetryPolicy,
        timeout: float,
        clock: Clock,
        tracing: Provider | None = None,
    ) -> None:
        check_timeout(timeout)
        self._tracing = None if tracing is None else Tracing(tracing)
        self.connection = connection
        self.deployment_id = connection.deployment.id
        self.clock = clock
        self._policy = policy
        self._timeout = timeout
        self._lock = threading.Lock()
        self._cards: dict[str, ModelCard] = {}
        self._gateways = Gateways(connection)
        self._places = Places()

    @property
    def gateway(self) -> str:
        """The gateway in use."""
        return self._gateways.current

    def query(
        self,
        name: str,
        x: object,
        final: bool = False,
        output: str | None = None,
        model: str | None = None,
    ) -> Operation[Answer]:
        """The logits for a batch, or what is made of them; see ``Client.query``.

        Args:
            model: the digest that the model must have; ``None`` for any.
        """
        encoded: dict[str, NDArray[np.uint64]] = {}  # for the model that is stored now

        def seal(card: ModelCard) -> SealedQuery:
            if card.descriptor.model not in encoded:
                encoded.clear()
                encoded[card.descriptor.model] = encode_batch(card.descriptor, x)
            kind = allowed(card.descriptor, output, final)
            now = self.clock.now()
            return seal_query(self.deployment_id, card, encoded[card.descriptor.model], now, kind)

        answer, descriptor = yield from self.ask(name, seal, model)
        return finish(descriptor, answer) if final else answer

    def ask(
        self,
        name: str,
        seal: Callable[[ModelCard], Sealed[T]],
        model: str | None = None,
        pin: Pin | None = None,
    ) -> Operation[tuple[T, Descriptor]]:
        """Seal, send and open, with retries; each is a new sealing, and may be for another triple.

        Args:
            seal: makes what is sent for the model that is stored now.
            model: the digest that the model must have; ``None`` for any.
            pin: the triple that it has to go to; set to the one that answers, if it is none yet.
        """
        attempts = self.attempts()
        failed: set[int] = set()
        while True:
            card, place, fresh = None, None, False
            try:
                card, fresh = yield from self._card(name, attempts)
                if model not in (None, card.descriptor.model):
                    raise ReplacedError(
                        f"model {name!r} was replaced while its batches were answered; ask again"
                    )
                place = self._places.choose(card, failed, pin)
                sealing = partial(seal, place)
                answer, response = yield from send_sealed(
                    self, name, card.descriptor, sealing, attempts, self._tracing
                )
                if self._places.follow(card, response.headers, to_millis(self.clock.now())):
                    self._forget(name, card)
                if pin is not None:
                    pin.triple = place.triple
                return answer, card.descriptor
            except ReplacedError:
                raise
            except ServiceError as error:
                elsewhere = (
                    card is not None
                    and place is not None
                    and self._places.lost(card, place, error, failed, pin)
                )
                if elsewhere and error.code == "party_down":
                    yield from self.pause(attempts, error, elsewhere)
                    continue
                # SECURITY: after an answer that does not hold together nothing is fetched again,
                # so that nobody on the way sees whether the client liked it.
                if not isinstance(error, IntegrityError):
                    self._forget(name, card)
                known = card is not None and not fresh
                if known and isinstance(error, ModelNotFoundError):
                    continue  # it may have been replaced
                if known and isinstance(error, UnavailableError) and error.status == 503:
                    yield from self._check_served(name, attempts)
                yield from self.pause(attempts, error, elsewhere)

    def describe(self, name: str) -> Operation[Descriptor]:
        """The model's descriptor, fetched now and verified."""
        attempts = self.attempts()
        while True:
            try:
                card = yield from self.fetch_card(name, attempts)
                return card.descriptor
            except ServiceError as error:
                yield from self.pause(attempts, error)

    def models(self) -> Operation[list[ModelSummary]]:
        """The gateway's list."""
        response = yield from self.call("GET", "/v2/models", self.attempts())
        return parse_summaries(response.body)

    def keys(self, attempts: Attempts) -> Operation[tuple[PartyKey, ...]]:
        """The current keys of triple 0, where models are managed, verified; one try."""
        response = yield from self.once("GET", "/v2/keys", attempts)
        found = key_set(response.json(), 0)
        if found is None:
            text = "triple 0, where models are managed, is not reachable; try again in a moment"
            raise UnavailableError(text, status=503, retry_after=1.0)
        return verify_keys(self.connection.deployment, found, self.clock.now())

    def fetch_card(self, name: str, attempts: Attempts) -> Operation[ModelCard]:
        """A model's card, fetched now and verified; one try."""
        path = f"/v2/models/{check_model_name(name)}"
        response = yield from self.once("GET", path, attempts)
        deployment = self.connection.deployment
        card = verify_card(deployment, name, response.body, self.clock.now())
        with self._lock:
            known = self._cards.get(name)
            self._cards[name] = card
        if known is None or known.descriptor.model != card.descriptor.model:
            warn_of_range(card.descriptor)
        return card

    # ---- requests

    def attempts(self, timeout: float | None = None) -> Attempts:
        """The tries of one call, from now on."""
        seconds = self._timeout if timeout is None else timeout
        return Attempts(self._policy, seconds, self.clock.monotonic)

    def call(
        self, method: str, path: str, attempts: Attempts, parts: tuple[bytes, ...] = ()
    ) -> Operation[Response]:
        """One request that may be repeated as it is, with retries; what it sends is JSON."""
        headers = {"Content-Type": "application/json"} if parts else None
        while True:
            try:
                return (yield from self.once(method, path, attempts, parts, headers))
            except ConflictError:
                raise  # the same bytes would be refused again
            except ServiceError as error:
                yield from self.pause(attempts, error)

    def once(
        self,
        method: str,
        path: str,
        attempts: Attempts,
        parts: tuple[bytes, ...] = (),
        headers: Mapping[str, str] | None = None,
        limit: int = MAX_ANSWER,
    ) -> Operation[Response]:
        """One try of a request, after making sure of the gateway."""
        return (yield from self._gateways.once(method, path, attempts, parts, headers, limit))

    def pause(
        self, attempts: Attempts, error: ServiceError, elsewhere: bool = False
    ) -> Generator[Pause, None, None]:
        """Wait before the next try, or raise ``error`` if there must be none."""
        yield Pause(attempts.after(error, elsewhere))

    # ---- cards

    def _card(self, name: str, attempts: Attempts) -> Operation[tuple[ModelCard, bool]]:
        """The model's card and whether it was fetched just now."""
        card = self._cards.get(name)
        if card is not None and to_millis(self.clock.now()) < card.refresh_ms:
            return card, False
        card = yield from self.fetch_card(name, attempts)
        self._check_state(name, card)
        return card, True

    def _check_served(self, name: str, attempts: Attempts) -> Operation[None]:
        """See whether a model that answered 503 was stopped, which is not worth waiting for.

        Raises:
            UnavailableError: it is stopped.
        """
        try:
            card = yield from self.fetch_card(name, attempts)
        except ServiceError:
            return  # the 503 says more
        self._check_state(name, card)

    def _check_state(self, name: str, card: ModelCard) -> None:
        if card.state == "stopped":
            self._forget(name, card)
            raise UnavailableError(
                f"model {name!r} is not ready: it is stopped; its owner can serve it "
                f"('libmpc serve {name}')",
                status=503,
            )

    def _forget(self, name: str, card: ModelCard | None) -> None:
        with self._lock:
            if card is not None and self._cards.get(name) is card:
                del self._cards[name]
