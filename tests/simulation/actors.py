"""Who works with the deployment: clients that ask, and an owner of models."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any
from unittest.mock import patch

import numpy as np

from libmpc.client.http import LostError
from libmpc.client.retry import UnsettledError
from libmpc.cluster import push as pushing
from libmpc.cluster.operations import OwnerSession
from libmpc.cluster.policy import Policy
from libmpc.errors import (
    ConflictError,
    IntegrityError,
    LibmpcError,
    LimitError,
    ModelNotFoundError,
    ServiceError,
    UnavailableError,
)
from tests.simulation.loop import Process
from tests.simulation.materials import inputs, materials
from tests.simulation.oracle import Order, Violation
from tests.simulation.peace import SLACK
from tests.simulation.world import World

_pushed: ContextVar[Callable[[pushing.Push, str | None], None]] = ContextVar("pushed")


@contextlib.contextmanager
def watching_pushes() -> Iterator[None]:
    """Tell owners of what they sign before it is sent."""
    real = pushing.make_push

    def make_push(*given: Any) -> pushing.Push:
        push = real(*given)
        _pushed.get()(push, given[4].replace)
        return push

    with patch.object(pushing, "make_push", make_push):
        yield


class Client(Process):
    """Asks one question after the other."""

    def __init__(self, world: World, number: int, rng: random.Random) -> None:
        super().__init__(f"c{number}")
        self._world = world
        self._rng = rng
        self._timeout = rng.choice([1.5, 4.0, 8.0])
        self._client, self._transport = world.client(
            timeout=self._timeout, retries=rng.choice([0, 3, 6]), careless=rng.random() < 0.25
        )
        world.processes.append(self)
        self.answers = 0
        self.refusals = 0

    async def work(self, names: list[str], until: float) -> None:
        """Ask until then."""
        pause = self._rng.choice([0.0, 0.05, 0.4])
        while self._world.loop.time() < until:
            rows = self._rng.choice([1, 1, 1, 2, 8, 11])
            if not await self.ask(self._rng.choice(names), rows):
                await asyncio.sleep(self._rng.expovariate(1 / 0.5))
            elif pause:
                await asyncio.sleep(self._rng.expovariate(1 / pause))

    async def ask(self, name: str, rows: int, *, must: bool = False) -> bool:
        """One query; whether it was answered.

        Args:
            must: it has to be answered.

        Raises:
            Violation: what came is wrong, or too late, or must not be refused.
        """
        world, began = self._world, self._world.loop.time()
        known = world.oracle.name(name)
        x = inputs(self._rng, rows)
        watch = known.watch()
        output = self._rng.choice(["logits", "logits", "logits", "label"])
        self._transport.careless &= not must
        self._transport.spoiled = False
        try:
            answer = await self._client.query(name, x, output=output)
        except LibmpcError as error:
            seen = known.done(watch)
            world.note(f"{self.name}: {name} × {rows}: {type(error).__name__}: {error}")
            self.refusals += 1
            self._check_refusal(error, seen)
            if must:
                raise Violation(
                    f"{name} does not answer after all is well again: {error}"
                ) from None
            return False
        finally:
            took = world.loop.time() - began
            if took > self._timeout + SLACK:
                raise Violation(f"a query with {self._timeout} s took {took:.1f} s")
        seen = known.done(watch)
        references = [model.reference(x) for model in materials().models]
        if output == "label":
            references = [np.argmax(logits, axis=-1) for logits in references]
        world.oracle.check_answer(seen, answer, references)
        self.answers += 1
        world.note(f"{self.name}: {name} × {rows}: answered")
        return True

    def _check_refusal(self, error: LibmpcError, seen: set[Any]) -> None:
        if isinstance(error, (UnavailableError, LostError, UnsettledError)):
            return
        if isinstance(error, ServiceError) and self._transport.spoiled:
            return
        sure = None not in seen  # a model was there all the time
        if isinstance(error, ModelNotFoundError) and sure:
            raise Violation(f"an acknowledged model is gone: {error}")
        if isinstance(error, LimitError) and sure and all(c.limit is None for c in seen):
            raise Violation(f"a model without a limit has one: {error}")
        if not isinstance(error, (ModelNotFoundError, LimitError, ConflictError)):
            raise Violation(f"a good query got {type(error).__name__}: {error}")


class Owner(Process):
    """Changes models, one order after the other for each name."""

    def __init__(self, world: World, rng: random.Random) -> None:
        super().__init__("owner")
        self._world = world
        self._rng = rng
        self._timeout = 20.0
        self._client, _ = world.client(timeout=self._timeout, retries=4)
        self._session = OwnerSession(self._client._session)
        world.processes.append(self)
        self.done = 0

    async def work(self, name: str, until: float) -> None:
        """Give orders until then."""
        while self._world.loop.time() < until:
            await asyncio.sleep(self._rng.expovariate(1 / 2.0))
            await self.order(
                name, self._rng.choice(["push", "push", "serve", "stop", "delete", "delete"])
            )

    async def order(self, name: str, action: str, *, must: bool = False) -> None:
        """One order; carried out or not."""
        world, known = self._world, self._world.oracle.name(name)
        began = world.loop.time()
        limit = self._rng.choice([None, None, 1, 3, 10])
        orders: list[Order] = []
        try:
            if action == "push":
                await self._push(name, limit, orders)
            else:
                models = {c.model for c in known.possible if c is not None}
                there = [model for model in world.oracle.variants if model in models]
                if not there:
                    return
                await self._command(name, self._rng.choice(there), action, limit, orders)
        except ServiceError as error:
            world.note(f"owner: {action} {name}: {type(error).__name__}: {error}")
            if isinstance(error, IntegrityError) and not isinstance(error, UnsettledError):
                raise Violation(f"an order got {type(error).__name__}: {error}") from None
            if must:
                raise Violation(f"cannot {action} after all is well again: {error}") from None
            return
        finally:
            took = world.loop.time() - began
            if took > self._timeout + SLACK:
                raise Violation(f"an order with {self._timeout} s took {took:.1f} s")
        for order in orders:
            known.acknowledged(order)
            self._check_durable(order)
        self.done += 1
        world.note(f"owner: {action} {name}: done")

    async def _push(self, name: str, limit: int | None, orders: list[Order]) -> None:
        variant = self._rng.randrange(len(materials().models))
        serve = self._rng.random() < 0.85
        policy = Policy(serve, limit if serve else None)
        oracle = self._world.oracle

        def made(push: pushing.Push, replaces: str | None) -> None:
            oracle.variants[push.model] = variant
            orders.append(oracle.push(name, push.model, replaces, serve, policy.num_requests))

        _pushed.set(made)  # every name has a task of its own
        model = materials().models[variant]
        await self._client._run(self._session.share(model, name, policy, True, self._timeout))

    async def _command(
        self, name: str, model: str, action: Any, limit: int | None, orders: list[Order]
    ) -> None:
        count = limit if action == "serve" else None
        orders.append(self._world.oracle.command(name, model, action, count))
        await self._client._run(self._session.command(name, model, action, count))

    def _check_durable(self, order: Order) -> None:
        """What was acknowledged is on all three disks."""
        for party in self._world.parties:
            row = party.disk.rows().get(order.model)
            if order.what == "delete":
                kept = row is None
            else:
                stored = row is not None and row[0] == "stored"
                wanted = {"serve": True, "stop": False}.get(order.what)
                kept = stored and (wanted is None or (row is not None and row[1] == wanted))
            if not kept:
                raise Violation(f"{order.what} was acknowledged and is not on {party.name}'s disk")
