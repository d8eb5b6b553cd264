"""Which part a party plays within an epoch: leader, follower or dealer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

from libmpc.errors import LibmpcError
from libmpc.failure import describe
from libmpc.link import Link, Message
from libmpc.party.catalog import Catalog
from libmpc.party.dealer import Dealer
from libmpc.party.desk import QueryDesk
from libmpc.party.follower import Follower
from libmpc.party.framing import join
from libmpc.party.keys import CORRELATED, bundle_stream
from libmpc.party.leader import Leader
from libmpc.party.messages import (
    BundleHeader,
    Deal,
    Kind,
)
from libmpc.party.meters import Meters
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.party.settings import Alarm, EpochSecrets, RoleSettings
from libmpc.prg import Stream
from libmpc.protocol import Payload
from libmpc.wire.errors import WireError

log = logging.getLogger(__name__)


class Role(Protocol):
    """A party within one epoch."""

    def start(self) -> None: ...
    def close(self) -> None: ...
    def receive(self, peer: int, message: Message) -> None: ...
    def models_changed(self) -> None: ...
    def submit(self, queries: Sequence[Query]) -> None: ...
    def dismiss(self, number: str) -> None: ...
    @property
    def levels(self) -> Mapping[PoolKey, int]: ...
    @property
    def targets(self) -> Mapping[PoolKey, int]: ...
    @property
    def streams(self) -> int: ...


def make_role(
    index: int,
    epoch: bytes,
    links: Mapping[int, Link],
    *,
    catalog: Catalog,
    desk: QueryDesk,
    executor: Executor,
    settings: RoleSettings,
    meters: Meters,
    alarm: Alarm,
) -> Role:
    """The part of party ``index`` in an epoch that begins."""
    if index == 2:
        return DealerRole(epoch, links, catalog, executor, settings, meters)
    secrets = EpochSecrets(
        epoch=epoch,
        correlated=links[2].stream_secret,
        leaving=links[1 - index].rerandomise_secret,
    )
    if index == 0:
        return Leader(
            secrets=secrets,
            catalog=catalog,
            peer=links[1].post,
            dealer=links[2].post,
            desk=desk,
            executor=executor,
            settings=settings,
            meters=meters,
            alarm=alarm,
        )
    return Follower(
        secrets=secrets,
        catalog=catalog,
        peer=links[0].post,
        dealer=links[2].post,
        desk=desk,
        executor=executor,
        settings=settings,
        meters=meters,
        alarm=alarm,
    )


class DealerRole:
    """Party 2."""

    def __init__(
        self,
        epoch: bytes,
        links: Mapping[int, Link],
        catalog: Catalog,
        executor: Executor,
        settings: RoleSettings,
        meters: Meters,
    ) -> None:
        secret0, secret1 = links[0].stream_secret, links[1].stream_secret

        def streams(model: str, bundle: int) -> tuple[Stream, Stream]:
            return (
                bundle_stream(secret0, epoch, CORRELATED, model, bundle),
                bundle_stream(secret1, epoch, CORRELATED, model, bundle),
            )

        async def announce(header: BundleHeader, first: Payload) -> None:
            await links[1].send(Kind.BUNDLE, header.bundle, 0, *join(header.encode(), first))

        async def correct(bundle: int, step: int, part: Payload) -> None:
            await links[1].send(Kind.CORRECTION, bundle, step, part)

        async def dealt(header: BundleHeader) -> None:
            await links[0].send(Kind.DEALT, header.bundle, 0, header.encode())

        async def decline(bundle: int) -> None:
            await links[0].send(Kind.DECLINED, bundle, 0)

        async def ended(bundle: int) -> None:
            await links[1].send(Kind.ENDED, bundle, 0)

        self._dealer = Dealer(
            catalog=catalog,
            streams=streams,
            announce=announce,
            correct=correct,
            dealt=dealt,
            decline=decline,
            ended=ended,
            executor=executor,
            window=settings.stream_window,
            at_once=settings.streams,
            meters=meters,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        return {}

    @property
    def targets(self) -> Mapping[PoolKey, int]:
        return {}

    @property
    def streams(self) -> int:
        return self._dealer.streams

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._dealer.run())
        self._task.add_done_callback(_ended)

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def models_changed(self) -> None:
        """The dealer keeps nothing by model."""

    def submit(self, queries: Sequence[Query]) -> None:
        raise WireError("the dealer takes no queries")

    def dismiss(self, number: str) -> None:
        """The dealer never hears of queries."""

    def receive(self, peer: int, message: Message) -> None:
        match peer, message.kind:
            case 0, Kind.DEAL:
                self._dealer.request(Deal.parse(message.payload))
            case 1, Kind.CREDIT:
                self._dealer.credit(message.bundle, message.step)
            case ((0 | 1), Kind.ENDED):
                self._dealer.end(message.bundle)
            case _:
                raise WireError("a message that the dealer does not expect from this party")


def _ended(task: asyncio.Task[None]) -> None:
    """The dealer ends with its epoch, or because a link has broken, which ends the epoch, too."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    causes = error.exceptions if isinstance(error, BaseExceptionGroup) else (error,)
    for cause in causes:
        if not isinstance(cause, LibmpcError):
            log.error("dealing has failed: %s", describe(cause))
