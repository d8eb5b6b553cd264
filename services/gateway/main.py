"""Run one gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from libmpc._version import __version__
from libmpc.clock import Clock, SystemClock
from libmpc.deployment import Deployment
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError
from libmpc.identity.keys import GatewayIdentity
from libmpc.link import GATEWAY, Link, LinkError, LocalIdentity, RemoteIdentity, connect
from services.common.hangup import on_hangup
from services.common.health import health_app
from services.common.http1_server import Http1Server
from services.common.http2 import connect_stream
from services.common.loop import run_loop
from services.common.machine import Machine
from services.common.telemetry import setup_logging
from services.common.tracing import ServiceTracing
from services.gateway.app import make_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from services.gateway.timers import LoopTimers

logger = logging.getLogger("libmpc.gateway")

#: what is under way when the gateway is told to stop has this long
DRAIN_SECONDS = 1.0
#: how often the gateway asks itself whether it is ready, for the metric
READINESS_SECONDS = 5.0


def run(config: Path) -> None:
    """Serve as the gateway that ``config`` describes; returns after SIGINT or SIGTERM.

    Args:
        config: a ``gateway.yaml``.

    Raises:
        ConfigError: a setting, key or file is wrong, or a port is in use.
    """
    settings = GatewaySettings.from_file(config)
    setup_logging("gateway", level=settings.log_level, as_json=settings.log_json)
    run_loop(serve(settings))


def check(findings: Findings, config: Path) -> None:
    """What ``libmpc doctor --config`` asks for."""
    from services.gateway.doctor import check  # a service that serves needs none of it

    check(findings, config)


class Dialer:
    """Makes links to the parties that the deployment file names at this time.

    Raises:
        ConfigError: the deployment file, a key or a certificate is missing or wrong.
    """

    def __init__(self, settings: GatewaySettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._read(settings.load_deployment())

    def _read(self, deployment: Deployment) -> None:
        identity = GatewayIdentity.load(self._settings.keys)
        deployment.check_gateway(identity.static_public)
        tls = self._settings.tls(deployment)
        tls.check()
        self.deployment, self.tls = deployment, tls
        self._local = LocalIdentity(GATEWAY, identity.static, deployment.id)

    def renew(self) -> bool:
        """Read the files again; says whether this gateway's own key is another one now.

        Raises:
            ConfigError: as above, or it is another deployment's; nothing has changed.
        """
        fresh, own = self._settings.load_deployment(), self._local.public_key
        if fresh.id != self.deployment.id:
            raise ConfigError("the deployment file is another deployment's; restart to change it")
        self._read(fresh)
        return self._local.public_key != own

    def accepts(self, party: int, key: bytes) -> bool:
        """Whether a party may still have this key."""
        return key in self.deployment.parties[party].static_keys

    async def __call__(self, party: int, triple: int) -> Link:
        """A new link to a party's process of a triple.

        Raises:
            LinkError: nothing came of it.
        """
        entry = self.deployment.parties[party]
        if triple >= len(entry.urls):
            raise LinkError("the deployment file does not have this triple any more")
        url = entry.urls[triple]
        stream = await connect_stream(url, self.tls if url.startswith("https") else None)
        remote = RemoteIdentity(party, entry.static_key, entry.static_keys[1:], triple)
        settings = self._settings.link_settings()
        link = await connect(stream, self._local, remote, clock=self._clock, settings=settings)
        if not self.accepts(party, link.peer_key):
            await link.close()
            raise LinkError("the deployment file was replaced during the handshake")
        return link


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGINT or SIGTERM; ends within 3 seconds of it.

    Raises:
        ConfigError: as ``run``.
    """
    clock = SystemClock()
    dialer = Dialer(settings, clock)
    gateway = Gateway(
        settings,
        dialer.deployment.id,
        dialer,
        clock=clock,
        timers=LoopTimers(),
        triples=dialer.deployment.triples,
    )
    traces = ServiceTracing(settings.tracing, "gateway")
    gateway.tracing = traces.tracing
    machine = Machine(settings.data, settings.certificates())
    machine.register(gateway.metrics.registry)
    tls = dialer.tls if settings.https else None
    public = Http1Server(make_app(gateway), settings.host, settings.port, tls)
    internal = Http1Server(
        health_app(
            "libmpc gateway",
            __version__,
            gateway.reason,
            gateway.metrics.registry,
            settings.metrics_token_sha256,
        ),
        settings.health_host,
        settings.health_port,
    )

    async def renew() -> None:
        rekeyed = dialer.renew()
        if settings.https:
            public.renew(dialer.tls)
        gateway.renew(
            lambda party, key: not rekeyed and dialer.accepts(party, key),
            dialer.deployment.triples,
        )

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Installed explicitly: a shell's background job starts with SIGINT ignored.
        loop.add_signal_handler(number, stop.set)
    on_hangup(renew)
    watches = [asyncio.ensure_future(w) for w in (machine.watch(), _watch_readiness(gateway))]
    try:
        gateway.start()
        await internal.start()
        await public.start()
        logger.info("gateway %s listens on port %d", __version__, public.port)
        await stop.wait()
    finally:
        logger.info("gateway stops")
        for watch in watches:
            watch.cancel()
        await gateway.drain(DRAIN_SECONDS)
        await asyncio.gather(public.stop(), internal.stop(), gateway.close())
        traces.close()


async def _watch_readiness(gateway: Gateway) -> None:
    """Keep the metric of readiness true, whether or not anybody asks for the health."""
    while True:
        gateway.metrics.ready = not await gateway.reason()
        await asyncio.sleep(READINESS_SECONDS)
