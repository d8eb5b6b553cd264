"""Which part a party plays within an epoch, and which messages belong to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from libmpc.link import Link, Message
from libmpc.party.catalog import Catalog
from libmpc.party.dealer import Dealer
from libmpc.party.desk import QueryDesk
from libmpc.party.evaluator import EpochSecrets, Evaluator
from libmpc.party.follower import Follower
from libmpc.party.keys import CORRELATED, bundle_stream
from libmpc.party.leader import Leader
from libmpc.party.messages import (
    BundleHeader,
    Deal,
    Kind,
    RunAbort,
    RunAgreement,
    RunHeader,
)
from libmpc.party.pool import PoolKey
from libmpc.party.queries import Query
from libmpc.prg import Stream
from libmpc.runtime import plan_cost
from libmpc.wire.errors import WireError

#: memory of a prepared bundle, as a multiple of its corrections (1.33 for the tutorial CNN, 1.45
#: for a wide perceptron)
PREPARED_FACTOR = 1.5


@dataclass(frozen=True)
class RoleSettings:
    """Bounds of a party's part in runs.

    Attributes:
        round_timeout: seconds to wait for one message of the other evaluator.
        take_timeout: seconds that a run waits for correlated randomness.
        pool: how many bundles to keep ready for each served model, by batch size.
        max_pool_bytes: memory for all bundles together.
    """

    round_timeout: float = 5.0
    take_timeout: float = 20.0
    pool: Mapping[int, int] = field(default_factory=lambda: {1: 8, 8: 2, 32: 1, 128: 1})
    max_pool_bytes: int = 256 << 20


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


def make_role(
    index: int,
    epoch: bytes,
    links: Mapping[int, Link],
    *,
    catalog: Catalog,
    desk: QueryDesk,
    executor: Executor,
    settings: RoleSettings,
) -> Role:
    """The part of party ``index`` in an epoch that begins."""
    if index == 2:
        return DealerRole(epoch, links, catalog, executor)
    secrets = EpochSecrets(
        epoch=epoch,
        correlated=links[2].stream_secret,
        leaving=links[1 - index].rerandomise_secret,
    )
    if index == 0:
        return LeaderRole(secrets, links, catalog, desk, executor, settings)
    return FollowerRole(secrets, links, catalog, desk, executor, settings)


class LeaderRole:
    """Party 0."""

    def __init__(
        self,
        secrets: EpochSecrets,
        links: Mapping[int, Link],
        catalog: Catalog,
        desk: QueryDesk,
        executor: Executor,
        settings: RoleSettings,
    ) -> None:
        sizes: dict[PoolKey, int] = {}

        def bundle_bytes(key: PoolKey) -> int:
            entry = catalog.entries.get(key[0])
            if key not in sizes and entry is not None:
                corrections = plan_cost(entry.plan, key[1]).correction_bytes
                sizes[key] = int(PREPARED_FACTOR * corrections)
            return sizes.get(key, 0)

        self._leader = Leader(
            secrets=secrets,
            catalog=catalog,
            peer=links[1].send,
            dealer=links[2].send,
            release=desk.release,
            executor=executor,
            round_timeout=settings.round_timeout,
            targets=settings.pool,
            bundle_bytes=bundle_bytes,
            max_pool_bytes=settings.max_pool_bytes,
            take_timeout=settings.take_timeout,
        )

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        return self._leader.pool.levels

    def start(self) -> None:
        self._leader.supply.top_up()

    def close(self) -> None:
        self._leader.close()

    def models_changed(self) -> None:
        self._leader.models_changed()

    def submit(self, queries: Sequence[Query]) -> None:
        self._leader.submit(queries)

    def dismiss(self, number: str) -> None:
        self._leader.dismiss(number)

    def receive(self, peer: int, message: Message) -> None:
        leader = self._leader
        if peer == 2:
            match message.kind:
                case Kind.DEALT:
                    return leader.on_dealt(BundleHeader.parse(message.payload))
                case Kind.DECLINED:
                    return leader.on_declined(message.bundle)
        elif message.kind == Kind.DECLINED:
            return leader.on_declined(message.bundle)
        elif message.kind == Kind.AGREE:
            return leader.on_agreement(message.bundle, RunAgreement.parse(message.payload))
        elif _of_run(leader, message):
            return None
        raise WireError("a message that party 0 does not expect from this party")


class FollowerRole:
    """Party 1."""

    def __init__(
        self,
        secrets: EpochSecrets,
        links: Mapping[int, Link],
        catalog: Catalog,
        desk: QueryDesk,
        executor: Executor,
        settings: RoleSettings,
    ) -> None:
        self._follower = Follower(
            secrets=secrets,
            catalog=catalog,
            peer=links[0].send,
            find=desk.find,
            dismiss=desk.dismiss,
            release=desk.release,
            executor=executor,
            round_timeout=settings.round_timeout,
            take_timeout=settings.take_timeout,
        )

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        return self._follower.pool.levels

    def start(self) -> None:
        """Party 0 begins everything."""

    def close(self) -> None:
        self._follower.close()

    def models_changed(self) -> None:
        self._follower.models_changed()

    def submit(self, queries: Sequence[Query]) -> None:
        """Party 0 says when and with which bundle (see ``Follower.on_run``)."""

    def dismiss(self, number: str) -> None:
        """Party 0 hears of it when it names the query."""

    def receive(self, peer: int, message: Message) -> None:
        follower = self._follower
        if peer == 2:
            match message.kind:
                case Kind.BUNDLE:
                    return follower.on_bundle(BundleHeader.parse(message.payload))
                case Kind.CORRECTION:
                    payload = bytes(message.payload)
                    return follower.on_correction(message.bundle, message.step, payload)
        elif message.kind == Kind.RUN:
            return follower.on_run(RunHeader.parse(message.payload))
        elif _of_run(follower, message):
            return None
        raise WireError("a message that party 1 does not expect from this party")


def _of_run(evaluator: Evaluator, message: Message) -> bool:
    match message.kind:
        case Kind.ROUND:
            evaluator.on_round(message.bundle, message.step, bytes(message.payload))
        case Kind.ABORT:
            evaluator.on_abort(message.bundle, RunAbort.parse(message.payload))
        case _:
            return False
    return True


class DealerRole:
    """Party 2."""

    def __init__(
        self, epoch: bytes, links: Mapping[int, Link], catalog: Catalog, executor: Executor
    ) -> None:
        secret0, secret1 = links[0].stream_secret, links[1].stream_secret

        def streams(model: str, bundle: int) -> tuple[Stream, Stream]:
            return (
                bundle_stream(secret0, epoch, CORRELATED, model, bundle),
                bundle_stream(secret1, epoch, CORRELATED, model, bundle),
            )

        async def announce(header: BundleHeader) -> None:
            await links[1].send(Kind.BUNDLE, header.bundle, 0, header.encode())

        async def correct(bundle: int, step: int, part: bytes | bytearray | memoryview) -> None:
            await links[1].send(Kind.CORRECTION, bundle, step, part)

        async def dealt(header: BundleHeader) -> None:
            await links[0].send(Kind.DEALT, header.bundle, 0, header.encode())

        async def decline(bundle: int) -> None:
            await links[0].send(Kind.DECLINED, bundle, 0)

        self._dealer = Dealer(
            catalog=catalog,
            streams=streams,
            announce=announce,
            correct=correct,
            dealt=dealt,
            decline=decline,
            executor=executor,
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def levels(self) -> Mapping[PoolKey, int]:
        return {}

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._dealer.run())

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
        if peer != 0 or message.kind != Kind.DEAL:
            raise WireError("a message that the dealer does not expect from this party")
        self._dealer.request(Deal.parse(message.payload))
