"""Run one party until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path

from libmpc._version import __version__
from libmpc.audit import AuditLog
from libmpc.clock import SystemClock
from libmpc.deployment import Deployment
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError
from libmpc.identity.keys import PartyIdentity
from libmpc.link import ByteStream
from libmpc.party.alarm import FILE_NAME
from libmpc.party.node import PartyNode
from libmpc.party.store import Store
from libmpc.party.vault import Vault
from libmpc.runtime import warm_up
from services.common.hangup import on_hangup
from services.common.health import health_app
from services.common.http1_server import Http1Server
from services.common.http2 import Http2Server, LinkEndpoint, connect_stream
from services.common.loop import run_loop
from services.common.machine import Machine
from services.common.memory import forget_compiler, keep_large_buffers
from services.common.telemetry import setup_logging
from services.common.tracing import ServiceTracing
from services.party.app import make_app
from services.party.metrics import party_registry
from services.party.settings import PartySettings

log = logging.getLogger("libmpc.party")


def run(config: Path, index: int | None = None) -> None:
    """Serve as the party that ``config`` describes; returns after SIGINT or SIGTERM.

    Args:
        config: a ``party.yaml``.
        index: refused unless it is the file's, where given.

    Raises:
        ConfigError: a setting, key or file is wrong, or a port is in use.
    """
    settings = PartySettings.from_file(config)
    if index is not None and index != settings.index:
        raise ConfigError(
            f"{config} is for party {settings.index}, not {index}; a party never changes its index"
        )
    setup_logging(f"party{settings.index}", level=settings.log_level, as_json=settings.log_json)
    keep_large_buffers()
    run_loop(_serve(settings))


def check(findings: Findings, config: Path) -> None:
    """What ``libmpc doctor --config`` asks for."""
    from services.party.doctor import check  # a service that serves needs none of it

    check(findings, config)


async def _serve(settings: PartySettings) -> None:
    deployment = settings.load_deployment()
    tls = settings.tls(deployment)
    urls = _urls(deployment, settings)  # renewed below
    store = Store(settings.data, Vault(settings.index, settings.load_storage_keys()))
    clock = SystemClock()
    audit = AuditLog(
        settings.data / "audit", deployment.id, settings.index, clock, settings.audit_settings()
    )

    async def open_stream(peer: int) -> ByteStream:
        return await connect_stream(urls[peer], tls)

    # SECURITY: the dealer never hears of queries; there is nothing that it could trace.
    wanted = settings.tracing and settings.index != 2
    traces = ServiceTracing(wanted, f"party{settings.index}", settings.triple)
    node = PartyNode(
        settings.index,
        deployment,
        PartyIdentity.load(settings.keys),
        store,
        clock,
        open_stream,
        settings.node_settings(),
        audit,
        settings.data / FILE_NAME,
        settings.triple,
        traces.tracing,
    )
    machine = Machine(settings.data, settings.certificates())
    registry = party_registry(node)
    machine.register(registry)
    endpoint = LinkEndpoint(node.accept)
    server = Http2Server(make_app(node), settings.host, settings.port, tls, endpoint=endpoint)
    health = Http1Server(
        health_app(
            "libmpc party",
            __version__,
            lambda: node.condition.reason,
            registry,
            settings.metrics_token_sha256,
        ),
        settings.health_host,
        settings.health_port,
    )

    async def renew() -> None:
        fresh, identity = settings.load_deployment(), PartyIdentity.load(settings.keys)
        node.check_renewal(fresh, identity)
        places = _urls(fresh, settings)
        await server.renew(settings.tls(fresh))
        urls.update(places)
        await node.renew(fresh, identity)

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Installed explicitly: a shell's background job starts with SIGINT ignored.
        loop.add_signal_handler(number, stop.set)
    on_hangup(renew)
    watch = asyncio.ensure_future(machine.watch())
    try:
        await health.start()
        # Peers that knock meanwhile wait, instead of coming again some time after we are ready.
        server.listen()
        # No query may wait for a compiler; until then nobody gets an answer from this party.
        await asyncio.to_thread(warm_up)
        forget_compiler()
        await server.start()
        node.start()
        log.info("party %d %s listens on port %d", settings.index, __version__, settings.port)
        await stop.wait()
    finally:
        log.info("party %d stops", settings.index)
        watch.cancel()
        await node.close()
        await server.stop()
        await health.stop()
        traces.close()
        store.close()
        audit.close()


def _urls(deployment: Deployment, settings: PartySettings) -> dict[int, str]:
    """Where the parties of this triple are reached; under its own index, this party's of triple 0,
    which a replica mirrors.
    """
    triple = settings.triple
    if triple >= deployment.triples:
        raise ConfigError(
            f"this is triple {triple}, and the deployment file has {deployment.triples}: add its"
            " three URLs (more_urls) there, or correct 'triple'"
        )
    urls = {party.index: party.urls[triple] for party in deployment.parties}
    return urls | {settings.index: deployment.parties[settings.index].url}
