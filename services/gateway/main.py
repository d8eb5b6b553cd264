"""Run one gateway until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from libmpc._version import __version__
from libmpc.clock import SystemClock
from libmpc.identity.keys import GatewayIdentity
from libmpc.link import GATEWAY, Link, LocalIdentity, RemoteIdentity, connect
from services.common.health import health_app
from services.common.http1_server import Http1Server
from services.common.http2 import connect_stream
from services.common.loop import run_loop
from services.common.telemetry import setup_logging
from services.gateway.app import make_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from services.gateway.timers import LoopTimers

logger = logging.getLogger("libmpc.gateway")

#: what is under way when the gateway is told to stop has this long
DRAIN_SECONDS = 1.0


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


def make_gateway(settings: GatewaySettings) -> Gateway:
    """A gateway whose links go over HTTP/2 to the deployment's parties; not started.

    Raises:
        ConfigError: the deployment file, a key or a certificate is missing or wrong.
    """
    deployment = settings.load_deployment()
    identity = GatewayIdentity.load(settings.keys)
    deployment.check_gateway(identity.static_public)
    tls = settings.tls(deployment)
    tls.check()
    local = LocalIdentity(GATEWAY, identity.static, deployment.id)
    clock = SystemClock()

    async def dial(party: int) -> Link:
        entry = deployment.parties[party]
        stream = await connect_stream(entry.url, tls if entry.url.startswith("https") else None)
        remote = RemoteIdentity(party, entry.static_key)
        return await connect(stream, local, remote, clock=clock, settings=settings.link_settings())

    return Gateway(settings, deployment.id, dial, clock=clock, timers=LoopTimers())


async def serve(settings: GatewaySettings) -> None:
    """Serve until SIGINT or SIGTERM; ends within 3 seconds of it.

    Raises:
        ConfigError: as ``run``.
    """
    gateway = make_gateway(settings)
    tls = settings.tls(settings.load_deployment()) if settings.https else None
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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Installed explicitly: a shell's background job starts with SIGINT ignored.
        loop.add_signal_handler(number, stop.set)
    try:
        gateway.start()
        await internal.start()
        await public.start()
        logger.info("gateway %s listens on port %d", __version__, public.port)
        await stop.wait()
    finally:
        logger.info("gateway stops")
        await gateway.drain(DRAIN_SECONDS)
        await asyncio.gather(public.stop(), internal.stop(), gateway.close())
