"""Who asks, and what they may do: the tokens of this gateway as it runs.

A check is one SHA-256 and a few comparisons, and in front of them one look: at the embedded file
(has anything changed? 10 µs), or at how long ago a database of several gateways was asked that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from libmpc.access import AccessStore, StoreError, TokenState
from libmpc.access.counts import Entry
from libmpc.clock import Clock
from libmpc.errors import AuthenticationError, ConfigError, UnavailableError
from libmpc.identity.token import is_token, token_id
from libmpc.wire.lifetime import to_millis
from services.gateway.database import Calls
from services.gateway.holder import Holder
from services.gateway.timers import Timers

logger = logging.getLogger(__name__)

#: what an unknown token is compared with: no token has this hash
_NOBODY = "0" * 64
#: seconds between two questions whether a shared database has changed
POLL_SECONDS = 0.5
#: seconds within which a change counts at every gateway that can ask the database
FRESH_SECONDS = 1.0


class Access:
    """The tokens of a gateway.

    Args:
        shared_sha256: the hash of the one token of ``gateway.yaml``, where there is one.
        grace: seconds for which tokens count while a shared database cannot be asked.

    Attributes:
        calls: questions to the database.

    Raises:
        ConfigError: the database holds something else than tokens, or cannot be asked.
    """

    def __init__(
        self,
        store: AccessStore,
        calls: Calls,
        shared_sha256: str | None,
        clock: Clock,
        timers: Timers,
        grace: float,
    ) -> None:
        self.calls = calls
        self._store = store
        self._clock = clock
        self._timers = timers
        self._grace = grace
        self._shared_sha256 = shared_sha256
        self._shared = Holder(None, store, calls)
        self._holders: dict[str, Holder] = {}
        self._refreshing = asyncio.Lock()
        try:
            self._seen = store.changes()
            self._install(store.entries())
        except StoreError as error:
            raise ConfigError(f"the tokens cannot be read: {error}") from None
        self._current = timers.now()
        if shared_sha256 is not None:
            logger.warning(
                "everybody who has the one token of token_sha256 may act as an owner; give each a"
                " token of their own ('libmpc token create') and take that setting out"
            )
        elif not self._holders:
            logger.warning("there are no tokens: make one with 'libmpc token create --config'")

    def identify(self, authorization: str) -> Holder:
        """Whose token a request has in its ``Authorization`` header.

        Raises:
            AuthenticationError: there is none, or it is wrong, revoked or expired (401).
            UnavailableError: the tokens cannot be read, or may have changed too long ago.
        """
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        self._look()
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

    async def states(self) -> list[TokenState]:
        """Every token, with what has been used of it.

        What other gateways have set aside counts as used.

        Raises:
            UnavailableError: the tokens cannot be read.
        """
        await self.refresh()
        counted = await self.calls(self._store.usages)
        return [
            TokenState.of(holder.grant, holder.used(counted.get(holder.id, {})))
            for holder in self._holders.values()
            if holder.grant is not None
        ]

    async def used(self, holder: Holder) -> dict[str, int]:
        """Images that count towards a token's limit, by model; empty without one.

        Raises:
            UnavailableError: the counts cannot be read.
        """
        if holder.grant is None or holder.grant.images is None:
            return {}
        counted = await self.calls(self._store.usages)
        return holder.used(counted.get(holder.id, {}))

    # ---- keeping up with the database

    @property
    def age(self) -> float:
        """Seconds since it was known that no token has changed."""
        return self._timers.now() - self._current if self._store.shared else 0.0

    @property
    def usable(self) -> bool:
        """Whether tokens are checked; false if they may have changed too long ago."""
        # SECURITY: a token that was revoked may count so long, and no longer.
        return self.age <= FRESH_SECONDS + self._grace

    def _look(self) -> None:
        """Take over what has changed in the embedded file; ``run`` asks a shared database."""
        if self._store.shared:
            if not self.usable:
                raise self.calls.unusable()
            return
        try:
            changes = self._store.changes()
            if changes != self._seen:
                self._install(self._store.entries())
                self._seen = changes
        except (StoreError, ConfigError) as error:
            raise self.calls.failed(error) from None
        self.calls.up = True

    async def refresh(self) -> None:
        """Take over what has changed, now.

        Raises:
            UnavailableError: the tokens cannot be read.
        """
        if not self._store.shared:
            self._look()
            return
        # One at a time, or what was read first might be taken over last.
        async with self._refreshing:
            asked = self._timers.now()
            changes = await self.calls.always(self._store.changes)
            if changes != self._seen:
                self._install(await self.calls.always(self._store.entries))
                self._seen = changes
            self._current = asked

    async def run(self) -> None:
        """Keep up with a shared database until cancelled."""
        while self._store.shared:
            with contextlib.suppress(UnavailableError):
                await self.refresh()
                await self._give_back(self._timers.now())
            await self._sleep(POLL_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        timer = self._timers.call_later(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    async def _give_back(self, now: float | None) -> None:
        spares = [spare for holder in self._holders.values() for spare in holder.spares(now)]
        if spares:
            # If it fails, they stay counted as used.
            await self.calls(self._store.counts.give_back, spares)

    async def close(self) -> None:
        """Make exact counts durable, and let the database go."""
        with contextlib.suppress(UnavailableError):
            await self._give_back(None)
        self.calls.close()
        self._store.close()

    def _install(self, entries: Iterable[Entry]) -> None:
        """Take over these tokens; limits of those that stay go on."""
        known = self._holders
        self._holders = {
            entry.grant.id: holder
            if (holder := known.get(entry.grant.id)) is not None and holder.entry == entry
            else Holder(entry, self._store, self.calls)
            for entry in entries
        }
        logger.info("%d tokens may be used", len(self._holders))
