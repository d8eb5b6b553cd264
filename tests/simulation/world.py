"""Three parties, two gateways, clients and an owner: the production classes in one simulation."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from libmpc.client.aio import AsyncClient
from libmpc.client.connection import Connection
from libmpc.client.retry import RetryPolicy
from libmpc.errors import ConfigError
from libmpc.link import ByteStream, Link, LinkError, LinkSettings, RemoteIdentity, connect
from libmpc.party.node import PartyNode
from libmpc.party.node_settings import NodeSettings
from libmpc.party.settings import RoleSettings
from services.gateway.gateway import Gateway
from services.gateway.timers import LoopTimers
from tests.simulation.disk import SimDisk
from tests.simulation.http import Exchange, Manners, SimTransport
from tests.simulation.ledger import Ledger
from tests.simulation.loop import Crash, Process, SimLoop, bury
from tests.simulation.materials import GATEWAYS, gateway_settings, materials
from tests.simulation.network import CONNECT_SECONDS, Network, Weather
from tests.simulation.oracle import Oracle, Violation

START = 1_800_000_000.0

_REQUEST = re.compile(r" \(request [0-9a-f]{16}\)")


@dataclass(frozen=True)
class SimClock:
    """The loop's time as the library wants it; a machine's own clock may be off a little."""

    loop: SimLoop
    offset: float = 0.0

    def now(self) -> float:
        return START + self.loop.time() + self.offset

    def monotonic(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(eq=False)
class Host:
    """A machine: a process that may die, and come back."""

    world: World
    name: str
    process: Process = field(init=False)
    _silent: bool = False

    def __post_init__(self) -> None:
        self.process = Process(self.name)
        self.process.kill()  # nothing runs yet

    @property
    def up(self) -> bool:
        return not self.process.dead

    def start(self) -> None:
        """Switch it on.

        Raises:
            Violation: it does not start.
        """
        process = self.process = Process(self.name)
        self.world.processes.append(process)
        self._silent = False
        # However it dies, its connections break.
        process.on_death.append(lambda: self.world.network.lose(process, silent=self._silent))
        try:
            process.context.run(self.boot)
        except Crash:
            pass  # so soon
        except ConfigError as error:
            raise Violation(f"{self.name} does not start: {error}") from None

    def boot(self) -> None:
        """Start what runs here."""
        raise NotImplementedError

    def kill(self, *, silent: bool = False) -> None:
        """End its process; ``silent``: so that nobody is told, as when the machine is gone."""
        if self.up:
            self.world.note(f"{self.name} is killed")
            self._silent = silent
            self.process.kill()


@dataclass(eq=False)
class PartyHost(Host):
    index: int = 0
    disk: SimDisk = field(init=False)
    node: PartyNode | None = None

    def boot(self) -> None:
        world, made = self.world, materials()
        process = self.process
        store = self.disk.open(process, made.vaults[self.index])
        self.node = PartyNode(
            self.index,
            made.deployment,
            made.parties[self.index],
            store,
            SimClock(world.loop, world.skews[self.index]),
            self._open_stream,
            world.node_settings,
        )
        self.node.start()

    async def _open_stream(self, peer: int) -> ByteStream:
        return await self.world.open_stream(self.process, peer)


@dataclass(eq=False)
class GatewayHost(Host):
    data: Path = Path()
    app: Any = None

    def boot(self) -> None:
        world, settings = self.world, gateway_settings(self.data)
        process = self.process
        self.app = materials().app
        gateway = Gateway(
            settings,
            materials().deployment.id,
            self._dial,
            clock=SimClock(world.loop),
            timers=LoopTimers(),
        )
        process.gateway = gateway
        gateway.start()

    async def _dial(self, party: int, triple: int) -> Link:
        world, made = self.world, materials()
        stream = await world.open_stream(self.process, party)
        remote = RemoteIdentity(party, made.deployment.parties[party].static_key)
        settings = gateway_settings().link_settings()
        return await connect(
            stream, made.gateway, remote, clock=SimClock(world.loop), settings=settings
        )


class World:
    """Everything of one schedule.

    Args:
        seed: decides what is random.
        directory: for the parties' data.

    Attributes:
        trace: what happened, and when, in words.
    """

    def __init__(self, seed: int, directory: Path) -> None:
        self.rng = random.Random(seed)
        random.seed(seed)  # the production code's jitter
        self.trace: list[str] = []
        self.loop = SimLoop(self._generator())
        weather = Weather(
            latency=self.rng.choice([0.0002, 0.002, 0.02]),
            jitter=self.rng.choice([0.0001, 0.002, 0.03]),
            bandwidth=self.rng.choice([1e9, 1e7, 3e5]),
            split=self.rng.choice([0, 0.02, 0.2]),
        )
        self.network = Network(self.loop, self._generator(), weather)
        self.skews = [self.rng.uniform(-2, 2) for _ in range(3)]
        streamed = self.rng.random() < 0.15
        sizes = {"stream_bytes": 0, "stream_window": 1} if streamed else {}
        self.node_settings = NodeSettings(
            link=LinkSettings(heartbeat=1.0, timeout=3.0),
            role=RoleSettings(
                round_timeout=2.0,
                take_timeout=self.rng.choice([2.0, 6.0]),
                pool={1: self.rng.choice([1, 4]), 8: 2},
                **sizes,
            ),
        )
        self.processes: list[Process] = []
        self.parties = [PartyHost(self, f"p{i}", index=i) for i in range(3)]
        for party in self.parties:
            party.disk = SimDisk(directory / party.name, self.loop)
        self.gateways = [GatewayHost(self, name, data=directory / name) for name in GATEWAYS]
        self.oracle = Oracle()
        self.ledger = Ledger([party.disk for party in self.parties])
        self.exchanges: list[tuple[Process, Exchange]] = []
        self.manners = Manners()
        #: seconds within which everything works again, once nothing is wrong any more
        self.recovery = 12.0
        self.hosts: list[Host] = [*self.parties, *self.gateways]

    def _generator(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    def note(self, text: str) -> None:
        # The ids of requests are random, and nothing depends on them.
        self.trace.append(f"{self.loop.time():8.3f}  {_REQUEST.sub('', text)}")

    def host(self, name: str) -> Host:
        return next(host for host in self.hosts if host.name == name)

    def client(
        self, *, timeout: float, retries: int, careless: bool = False
    ) -> tuple[AsyncClient, SimTransport]:
        """A client on a machine of its own."""
        transport = SimTransport(
            self.loop,
            self._generator(),
            {host.name: host for host in self.gateways},
            self.manners,
            self._watch,
            careless=careless,
        )
        clock = SimClock(self.loop, self.rng.uniform(-2, 2))
        policy = RetryPolicy(retries)
        client = AsyncClient(timeout=timeout, retries=policy, clock=clock, transport=transport)
        return client, transport

    def _watch(self, process: Process, exchange: Exchange) -> None:
        self.exchanges.append((process, exchange))
        exchange.over = self._check_stored

    def _check_stored(self, exchange: Exchange) -> None:
        """A push that was acknowledged is on all three disks, unless it is gone again by now."""
        answer = exchange.response
        if exchange.method == "PUT" and answer is not None and answer.status_code == 201:
            model = answer.json()["model"]
            for party in self.parties:
                row = party.disk.rows().get(model)
                gone = row is None and model in party.disk.gone()
                if not gone and (row is None or row[0] != "stored"):
                    self.ledger.broken.append(
                        f"a push was acknowledged and is not on {party.name}'s disk"
                    )

    async def open_stream(self, process: Process, party: int) -> ByteStream:
        """A connection from a process to a party."""
        network, host = self.network, self.parties[party]
        ways = {(process.name, host.name), (host.name, process.name)}
        if ways & network.blocked:
            await asyncio.sleep(CONNECT_SECONDS)
            raise LinkError("no answer")
        await asyncio.sleep(2 * network.weather.latency)
        if host.process.dead:
            raise LinkError("connection refused")
        ours, theirs = network.pair(process, host.process)
        assert host.node is not None
        work = host.node.accept(theirs)
        self.loop.create_task(work, context=host.process.context.copy())
        return ours

    def check(self) -> None:
        """What must be true at any time.

        Raises:
            Violation: it is not.
        """
        broken = self.ledger.broken + self.loop.trouble
        if broken:
            raise Violation(broken[0])

    def end(self) -> None:
        """Let go of everything."""
        for process in self.processes:
            process.kill()
        bury(self.processes, self.loop)
        for party in self.parties:
            party.disk.close()


def opened() -> Any:
    """A patch: every client connects to the deployment of the simulation."""
    connection = materials().connection
    return patch.object(Connection, "open", lambda *given: connection)
