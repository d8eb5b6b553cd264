"""A token that was presented, and what its queries are counted as."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from libmpc.access import AccessStore, Role
from libmpc.access.counts import Entry, Part, Spare
from libmpc.access.pace import Slice
from libmpc.errors import AuthenticationError, ServiceError
from services.gateway.database import Calls
from services.gateway.quotas import Quota
from services.gateway.rates import OwnRate, Rate, SharedRate

_TRANSIENT = (429, 503)


class Holder:
    """A token that was presented, with what is left of its limits.

    Args:
        entry: the token; ``None`` for the one in ``gateway.yaml``.

    Attributes:
        id: the token's, for logs; of the token in ``gateway.yaml``, which has none, that name.
    """

    def __init__(self, entry: Entry | None, store: AccessStore, calls: Calls) -> None:
        self.entry = entry
        self.grant = grant = None if entry is None else entry.grant
        self.id = "token_sha256" if grant is None else grant.id
        self._store = store
        self._calls = calls
        self._rates: list[tuple[Rate, bool]] = []  # and whether it counts images
        self._quotas: dict[str, Quota] = {}
        self._models: frozenset[str] | None = None
        if grant is None:
            return
        if grant.models is not None:
            self._models = frozenset(grant.models)
        if grant.requests_per_minute is not None:
            self._rates.append((self._rate(grant.requests_per_minute, "requests"), False))
        if grant.images_per_minute is not None:
            self._rates.append((self._rate(grant.images_per_minute, "images"), True))

    def _rate(self, limit: int, what: str) -> Rate:
        if not self._store.shared:
            return OwnRate(limit, what)
        return SharedRate(limit, what, partial(self._take_slice, what, limit))

    async def _take_slice(
        self, what: str, limit: int, need: int, ahead: int, unused: int
    ) -> Slice | None:
        assert self.entry is not None
        pace = self._store.counts.pace
        return await self._calls(pace, self.entry, what, limit, need, ahead, unused)

    async def _set_aside(self, model: str, need: int, want: int) -> Part | None:
        assert self.entry is not None
        return await self._calls(self._store.counts.set_aside, self.entry, model, need, want)

    def _quota(self, model: str) -> Quota | None:
        if self.grant is None or self.grant.images is None:
            return None
        found = self._quotas.get(model)
        if found is None:
            found = Quota(self.grant.images, partial(self._set_aside, model))
            self._quotas[model] = found
        return found

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
            AuthenticationError: the token has been revoked meanwhile.
            UnavailableError: the count cannot be written.
        """
        charge = Charge()
        try:
            for rate, by_images in self._rates:
                units = images if by_images else 1
                await rate.take(units, now)
                charge.rates.append((rate, units))
            if (quota := self._quota(model)) is not None:
                await quota.take(images, now)
                charge.quota = partial(quota.give_back, images)
        except ServiceError as error:
            charge.refund(error)
            raise
        return charge

    def used(self, counted: dict[str, int]) -> dict[str, int]:
        """Images used, by model, where ``counted`` includes what is set aside here."""
        spare = {model: quota.spare for model, quota in self._quotas.items()}
        exact = {model: images - spare.get(model, 0) for model, images in counted.items()}
        return {model: images for model, images in exact.items() if images > 0}

    def spares(self, now: float | None) -> Iterator[Spare]:
        """Hand over what is set aside and idle, to be given back; ``None``: whatever there is."""
        for model, quota in self._quotas.items():
            if self.entry is not None and (now is None or quota.is_idle(now)):
                yield Spare(self.id, self.entry.number, model, quota.release())


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


def check_role(holder: Holder, role: Role) -> None:
    """Refuse who may not.

    Raises:
        AuthenticationError: it needs another role (403).
    """
    if not holder.allows(role):
        text = f"this needs a token of role {role!r}; ask whoever gave you yours"
        raise AuthenticationError(text, status=403)
