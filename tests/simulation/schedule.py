"""One random schedule: work and faults, then peace, and a look at what is left."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.simulation import peace
from tests.simulation.actors import Client, Owner, watching_pushes
from tests.simulation.chaos import Fault, disturb, mend
from tests.simulation.loop import Process, Stuck
from tests.simulation.oracle import Violation
from tests.simulation.world import World, opened

T = TypeVar("T")

NAMES = ["alpha", "beta"]
#: seconds after which nothing of what was asked may be left anywhere
REST_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """What has come of a schedule."""

    seed: int
    violation: str | None
    trace: list[str]
    seconds: float  # simulated
    steps: int
    answers: int
    refusals: int
    orders: int


def run_schedule(seed: int, only: Sequence[Fault] | None = None) -> Outcome:
    """Run the schedule of a seed, which is the same every time; with ``only`` some faults."""
    directory = Path(tempfile.mkdtemp(prefix="simulation-", dir=_memory()))
    world = World(seed, directory)
    schedule = _Schedule(world, only)
    violation = None
    try:
        with world.ledger.watching(), watching_pushes(), opened():
            world.loop.run(schedule.run())
            world.check()
    except (Violation, Stuck) as error:
        violation = f"{type(error).__name__}: {error}"
    finally:
        world.end()
        shutil.rmtree(directory)
    if violation is not None and world.ledger.broken and world.ledger.broken[0] not in violation:
        violation += f" (and before it: {world.ledger.broken[0]})"
    return Outcome(
        seed,
        violation,
        world.trace,
        world.loop.time(),
        world.loop.steps,
        sum(c.answers for c in schedule.clients),
        sum(c.refusals for c in schedule.clients),
        schedule.owner.done,
    )


def _memory() -> str | None:
    """Where files cost nothing, if there is such a place."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class _Schedule:
    def __init__(self, world: World, only: Sequence[Fault] | None) -> None:
        self.world = world
        self._only = only
        rng = self.rng = random.Random(world.rng.getrandbits(64))
        with opened():
            self.clients = [
                Client(world, n, random.Random(rng.getrandbits(64)))
                for n in range(rng.choice([1, 2, 4]))
            ]
            self.owner = Owner(world, random.Random(rng.getrandbits(64)))
        self.names = NAMES[: rng.choice([1, 2])]

    async def run(self) -> None:
        world, rng = self.world, self.rng
        for host in world.hosts:
            host.start()
        await self._settled()
        for name in self.names:
            await self._as(self.owner, self.owner.order(name, "push", must=True))
        # Where nothing fails, what is played again is what matters, and it may come late.
        lengths = [4.0, 8.0] if self._only == () else [0.5, 1.0, 1.0, 2.0, 4.0]
        until = world.loop.time() + rng.choice(lengths)
        world.manners.repeated = rng.choice([0.0, 0.5])
        work = [self._as(c, c.work(self.names, until)) for c in self.clients]
        work += [self._as(self.owner, self.owner.work(name, until)) for name in self.names]
        work.append(asyncio.ensure_future(disturb(world, rng, until, self._only)))
        await self._all(work)
        mend(world)
        world.manners.repeated = 0.0
        await self._settled()
        await self._in_peace()
        await asyncio.sleep(REST_SECONDS)
        peace.nothing_left(world)
        world.check()

    def _as(self, process: Process, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self.world.loop.create_task(work, context=process.context.copy())

    async def _all(self, work: Sequence[asyncio.Task[Any]]) -> None:
        done, rest = await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
        for task in rest:
            task.cancel()
        for task in done:
            task.result()
        self.world.check()

    async def _settled(self) -> None:
        """Wait until both gateways say that queries can be answered."""
        world, began = self.world, self.world.loop.time()
        while True:
            gateways = [host.process.gateway for host in world.gateways]  # type: ignore[attr-defined]
            reasons = [await gateway.reason() for gateway in gateways]
            if not any(reasons):
                break
            if world.loop.time() > began + world.recovery:
                raise Violation(f"not ready {world.recovery:g} s after all is well: {reasons}")
            await asyncio.sleep(0.1)
        world.note(f"ready after {world.loop.time() - began:.1f} s")

    async def _in_peace(self) -> None:
        """The parties agree, on something that may be; every model does what it should."""
        world = self.world
        await asyncio.sleep(2)  # what they tell each other takes a moment
        for name in self.names:
            condition = peace.agreed(world, name)
            client = Client(world, 99, self.rng)
            must = condition is not None and condition.serving and peace.has_room(world, condition)
            await self._as(client, client.ask(name, 1, must=must))
        world.check()
