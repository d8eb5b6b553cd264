"""Who asks, and what they may do: the tokens of this gateway as it runs.

A check costs about 20 µs, which is one look at the file (has anything changed?), one SHA-256 and a
few comparisons.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable

from libmpc.access import AccessStore, Grant, Role, TokenState
from libmpc.clock import Clock
from libmpc.errors import AuthenticationError, ConfigError, ServiceError
from libmpc.identity.token import is_token, token_id
from libmpc.wire.lifetime import to_millis
from services.gateway.quotas import Quotas, unreadable
from services.gateway.rates import Rate

logger = logging.getLogger(__name__)

#: what an unknown token is compared with: no token has this hash
_NOBODY = "0" * 64
_TRANSIENT = (429, 503)


class Holder:
    """A token that was presented, with what is left of its limits.

    Attributes:
        id: the token's, for logs; of the token in ``gateway.yaml``, which has none, that name.
    """

    def __init__(self, grant: Grant | None, store: AccessStore) -> None:
        self.grant = grant
        self.id = "token_sha256" if grant is None else grant.id
        self._rates: list[tuple[Rate, bool]] = []  # and whether it counts images
        self.quotas: Quotas | None = None
        self._models: frozenset[str] | None = None
        if grant is None:
            return
        if grant.models is not None:
            self._models = frozenset(grant.models)
        if grant.requests_per_minute is not None:
            self._rates.append((Rate(grant.requests_per_minute, "requests"), False))
        if grant.images_per_minute is not None:
            self._rates.append((Rate(grant.images_per_minute, "images"), True))
        if grant.images is not None:
            self.quotas = Quotas(store, grant.id, grant.images)

    def allows(self, role: Role) -> bool:
        """Whether it may do what needs that role; the token in ``gateway.yaml`` is an owner's."""
        return role in ("client", "owner") if self.grant is None else self.grant.allows(role)

    def sees(self, model: str) -> bool:
        """Whether a model of that name exists as far as this token goes."""
        return self._models is None or model in self._models

    async def charge(self, model: str, images: int, now: float) -> Charge:
        """Count a query of so many images.

        Raises:
            LimitError: more than a limit allows; nothing is counted then.
            UnavailableError: the count cannot be written.
        """
        charge = Charge()
        try:
            for rate, by_images in self._rates:
                units = images if by_images else 1
                rate.take(units, now)
                charge.rates.append((rate, units))
            if self.quotas is not None:
                quota = self.quotas.of(model)
                await quota.take(images)
                charge.quota = lambda: quota.give_back(images)
        except ServiceError as error:
            charge.refund(error)
            raise
        return charge


class Charge:
    """What a query was counted as."""

    def __init__(self) -> None:
        self.rates: list[tuple[Rate, int]] = []
        self.quota: Callable[[], None] | None = None

    def refund(self, error: ServiceError) -> None:
        """The query failed: no images were answered.

        Rates still count what was the sender's fault, since it cost the parties work.
        """
        if self.quota is not None:
            self.quota()
            self.quota = None
        if error.status in _TRANSIENT:
            for rate, units in self.rates:
                rate.give_back(units)
        self.rates.clear()


class Access:
    """The tokens of a gateway.

    Args:
        shared_sha256: the hash of the one token of ``gateway.yaml``, where there is one.

    Raises:
        ConfigError: the file holds something else than tokens.
    """

    def __init__(self, store: AccessStore, shared_sha256: str | None, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._shared_sha256 = shared_sha256
        self._shared = Holder(None, store)
        self._holders: dict[str, Holder] = {}
        self._seen = -1
        if shared_sha256 is not None:
            logger.warning(
                "everybody who has the one token of token_sha256 may act as an owner; give each a"
                " token of their own ('libmpc token create') and take that setting out"
            )
        elif not store.grants():
            logger.warning("there are no tokens: make one with 'libmpc token create --config'")

    def identify(self, authorization: str) -> Holder:
        """Whose token a request has in its ``Authorization`` header.

        Raises:
            AuthenticationError: there is none, or it is wrong, revoked or expired (401).
            UnavailableError: the tokens cannot be read.
        """
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        self._refresh()
        found = token_id(presented)
        holder = self._shared if found is None else self._holders.get(found, self._shared)
        expected = self._shared_sha256 if holder.grant is None else holder.grant.sha256
        # SECURITY: compared in constant time, and never logged.
        right = is_token(presented, expected or _NOBODY)
        if scheme.lower() != "bearer" or not right:
            text = "a valid token is needed: Authorization: Bearer <token>"
            raise AuthenticationError(text, status=401)
        expires = None if holder.grant is None else holder.grant.expires_ms
        # SECURITY: not before the comparison, or anybody could ask which tokens there are.
        if expires is not None and to_millis(self._clock.now()) >= expires:
            text = "this token has expired; ask whoever gave it to you for another"
            raise AuthenticationError(text, status=401)
        return holder

    def states(self) -> list[TokenState]:
        """Every token, with what has been used of it.

        Raises:
            UnavailableError: the tokens cannot be read.
        """
        self._refresh()
        return [
            TokenState.of(holder.grant, {} if holder.quotas is None else holder.quotas.used)
            for holder in self._holders.values()
            if holder.grant is not None
        ]

    def close(self) -> None:
        """Make exact counts durable, and close the file."""
        kept = [holder.quotas for holder in self._holders.values() if holder.quotas is not None]
        # If it fails, what was set aside stays counted as used.
        with contextlib.suppress(sqlite3.Error):
            self._store.count_all(count for quotas in kept for count in quotas.unsettled())
        self._store.close()

    def _refresh(self) -> None:
        """Take over what has changed in the file; limits of tokens that stay go on."""
        try:
            changes = self._store.changes()
            if changes == self._seen:
                return
            known = self._holders
            self._holders = {
                grant.id: holder
                if (holder := known.get(grant.id)) is not None and holder.grant == grant
                else Holder(grant, self._store)
                for grant in self._store.grants()
            }
        except (sqlite3.Error, ConfigError) as error:
            raise unreadable(error) from None
        self._seen = changes
        logger.info("%d tokens may be used", len(self._holders))


def check_role(holder: Holder, role: Role) -> None:
    """Refuse who may not.

    Raises:
        AuthenticationError: it needs another role (403).
    """
    if not holder.allows(role):
        text = f"this needs a token of role {role!r}; ask whoever gave you yours"
        raise AuthenticationError(text, status=403)
