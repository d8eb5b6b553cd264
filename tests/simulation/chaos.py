"""What goes wrong: one fault after the other, each ended again, chosen by the seed.

To add a fault, write a coroutine that does it, waits, and undoes it, and put it into ``FAULTS``
with a weight. Draw everything random from ``rng``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from tests.simulation.network import SimStream
from tests.simulation.world import Host, World

Fault = Callable[[World, random.Random], Awaitable[None]]


async def _down(world: World, rng: random.Random, hosts: list[Host], *, silent: bool) -> None:
    for host in hosts:
        host.kill(silent=silent)
    await _restart(world, rng, hosts)


async def _restart(world: World, rng: random.Random, hosts: list[Host]) -> None:
    await asyncio.sleep(rng.choice([0.01, 0.3, 2, 7]))
    for host in hosts:
        if not host.up:
            host.start()
            world.note(f"{host.name} starts")


async def crash(world: World, rng: random.Random) -> None:
    """A party or a gateway dies."""
    await _down(world, rng, [rng.choice(world.hosts)], silent=rng.random() < 0.3)


async def crash_together(world: World, rng: random.Random) -> None:
    """Several die at the same moment; all three parties, most often."""
    hosts: list[Host] = list(world.parties)
    if rng.random() < 0.4:
        hosts = rng.sample(world.hosts, 2)
    await _down(world, rng, hosts, silent=False)


async def lose_dealer(world: World, rng: random.Random) -> None:
    """Party 2 dies, and stays away for longer than a query waits."""
    world.parties[2].kill()
    await asyncio.sleep(rng.uniform(2, 8))
    if not world.parties[2].up:
        world.parties[2].start()


async def crash_at_a_durable_step(world: World, rng: random.Random) -> None:
    """A party dies before or after one of its next durable steps."""
    party = rng.choice(world.parties)
    party.disk.crash_at = party.disk.steps + rng.randrange(1, 12)
    world.note(f"{party.name} will die at durable step {party.disk.crash_at}")
    await asyncio.sleep(rng.uniform(0.5, 5))
    party.disk.crash_at = None
    await _restart(world, rng, [party])


async def lose_power(world: World, rng: random.Random) -> None:
    """The machines of some parties, most often of all, lose power, perhaps at a durable step."""
    parties = rng.choice([world.parties, world.parties, [rng.choice(world.parties)]])
    for party in parties:
        party.disk.power_fails = True
        if rng.random() < 0.7:
            party.disk.crash_at = party.disk.steps + rng.randrange(1, 12)
    world.note(" and ".join(party.name for party in parties) + " will lose power")
    await asyncio.sleep(rng.uniform(0.1, 2))
    for party in parties:
        party.disk.crash_at = None
        party.kill(silent=True)
        party.disk.power_fails = False
    await _restart(world, rng, list(parties))


async def fill_the_disk(world: World, rng: random.Random) -> None:
    """There is no room on a party's disk for a while."""
    party = rng.choice(world.parties)
    party.disk.full = True
    world.note(f"{party.name} has no room on its disk")
    await asyncio.sleep(rng.uniform(0.2, 3))
    party.disk.full = False
    world.note(f"{party.name} has room again")


async def crash_at_a_message(world: World, rng: random.Random) -> None:
    """A party or a gateway dies just before one of its next messages leaves."""
    host = rng.choice(world.hosts)
    left = rng.choice([3, 20, 100])
    left = rng.randrange(1, left + 1)

    def before_write(receiver: str, size: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            host.kill()

    host.process.before_write = before_write
    await asyncio.sleep(rng.uniform(0.2, 3))
    host.process.before_write = None
    await _restart(world, rng, [host])


async def half_a_batch(world: World, rng: random.Random) -> None:
    """A gateway dies when one evaluator has a batch and the other one has not."""
    gateway = rng.choice(world.gateways)
    process = gateway.process

    def before_write(receiver: str, size: int) -> None:
        if receiver == "p1" and size > 500:  # most likely a batch
            gateway.kill()

    process.before_write = before_write
    await asyncio.sleep(rng.uniform(0.2, 3))
    process.before_write = None
    await _restart(world, rng, [gateway])


async def freeze(world: World, rng: random.Random) -> None:
    """A process stands still for a while."""
    process = rng.choice(world.hosts).process
    process.freeze()
    world.note(f"{process.name} freezes")
    await asyncio.sleep(rng.choice([0.2, 1.5, 4, 8]))
    process.thaw(world.loop)
    world.note(f"{process.name} goes on")


def _streams(world: World, rng: random.Random) -> list[SimStream]:
    live = [s for s in world.network.streams if not s.closed and not s.over]
    return [rng.choice(live)] if live else []


async def reset(world: World, rng: random.Random) -> None:
    """A connection breaks."""
    for stream in _streams(world, rng):
        world.note(f"{stream.owner.name} – {stream.peer.owner.name}: reset")
        stream.reset()


async def partition(world: World, rng: random.Random) -> None:
    """Nothing passes between two machines, in one direction or both."""
    one, two = rng.sample(world.hosts, 2)
    both = rng.random() < 0.7
    world.note(f"{one.name} {'<' if both else ''}–> {two.name}: nothing passes")
    world.network.block(one.name, two.name, both=both)
    await asyncio.sleep(rng.choice([0.3, 2, 5]))
    world.network.heal()
    world.note("everything passes")


async def slow(world: World, rng: random.Random) -> None:
    """One direction of a connection takes long."""
    one, two = rng.sample(world.hosts, 2)
    world.network.slow[one.name, two.name] = rng.choice([0.1, 0.5, 2.5])
    await asyncio.sleep(rng.uniform(0.5, 4))
    world.network.slow.pop((one.name, two.name), None)


async def tamper(world: World, rng: random.Random) -> None:
    """Somebody on the way repeats, moves, changes or drops what is sent."""
    # A changed length makes the receiver wait for the rest of a long record.
    world.recovery = 45.0
    for stream in _streams(world, rng):
        how = rng.choice(["repeat", "swap", "flip", "drop"])
        held: list[bytes] = []

        def change(pieces: list[bytes], how: str = how, held: list[bytes] = held) -> list[bytes]:
            if rng.random() < 0.4:
                return pieces
            if how == "repeat":
                return [*pieces, pieces[-1]]
            if how == "flip":
                last = bytearray(pieces[-1])
                last[rng.randrange(len(last))] ^= 1 << rng.randrange(8)
                return [*pieces[:-1], bytes(last)]
            if how == "drop":
                return pieces[:-1]
            if not held:
                held.append(pieces[-1])
                return pieces[:-1]
            return [*pieces, held.pop()]

        world.note(f"{stream.owner.name} – {stream.peer.owner.name}: somebody does {how}")
        stream.tamper = change
        await asyncio.sleep(rng.uniform(0.05, 3))
        stream.tamper = None


async def rude_network(world: World, rng: random.Random) -> None:
    """Clients' requests and answers get lost, break off, and are played again."""
    manners = world.manners
    manners.refused, manners.unanswered = rng.choice([(0.3, 0.0), (0.0, 0.3), (0.1, 0.1)])
    manners.hung_up = rng.choice([0.0, 0.3])
    await asyncio.sleep(rng.uniform(0.5, 4))
    manners.refused = manners.unanswered = manners.hung_up = 0.0


#: every fault, with how often it is chosen
FAULTS: dict[Fault, int] = {
    crash: 4,
    crash_together: 1,
    lose_dealer: 1,
    crash_at_a_durable_step: 5,
    lose_power: 3,
    fill_the_disk: 2,
    crash_at_a_message: 5,
    half_a_batch: 1,
    freeze: 3,
    reset: 4,
    partition: 3,
    slow: 2,
    tamper: 3,
    rude_network: 3,
}


async def disturb(
    world: World, rng: random.Random, until: float, only: Sequence[Fault] | None = None
) -> None:
    """One fault after the other, some of them at the same time; ``only`` these, if given."""
    faults = [fault for fault in FAULTS if only is None or fault in only]
    if not faults:
        return
    weights = [FAULTS[fault] for fault in faults]
    pace = (until - world.loop.time()) * rng.choice([0.3, 0.6, 1.0])
    running: list[asyncio.Task[None]] = []
    while (pause := rng.expovariate(1 / pace)) + world.loop.time() < until:
        await asyncio.sleep(pause)
        fault = rng.choices(faults, weights)[0]
        world.note(f"fault: {fault.__name__}")
        work = fault(world, random.Random(rng.getrandbits(64)))
        running.append(asyncio.ensure_future(work))  # type: ignore[arg-type]
    await asyncio.gather(*running)


def mend(world: World) -> None:
    """All is well again: everything passes, and everybody runs."""
    world.network.heal()
    for party in world.parties:
        party.disk.crash_at = None
        party.disk.power_fails = party.disk.full = False
    for stream in world.network.streams:
        stream.tamper = None
    for host in world.hosts:
        host.process.before_write = None
        host.process.thaw(world.loop)
        if not host.up:
            host.start()
    world.note("all is well")
