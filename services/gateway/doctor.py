"""``libmpc doctor --config gateway.yaml``: one gateway, on its own machine."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

from libmpc.access import AccessStore
from libmpc.clock import Clock, SystemClock
from libmpc.deployment import Deployment
from libmpc.doctor.deployment import check_deployment
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError, ServiceError
from libmpc.identity.keys import GatewayIdentity
from libmpc.link import GATEWAY, LinkError, LocalIdentity, RemoteIdentity, connect
from libmpc.party.messages import Kind
from libmpc.wire.errors import WireError
from services.common.doctor import Checkup
from services.common.http2 import connect_stream
from services.gateway.links import Session
from services.gateway.settings import GatewaySettings
from services.gateway.status import PartyBody, describe
from services.gateway.timers import LoopTimers

_SKEW = 5.0
_SECONDS = 5.0


def check(findings: Findings, config: Path, clock: Clock | None = None) -> None:
    """Check settings, files, ports and parties; as far as one can get."""
    try:
        settings = GatewaySettings.from_file(config)
    except ConfigError as error:
        findings.fail("settings", str(error), "correct the field that it names")
        return
    findings.ok("settings", f"a gateway on port {settings.port}")
    if settings.token_sha256 is not None:
        hint = "give each their own ('libmpc token create') and take token_sha256 out"
        findings.warn("settings", "everybody with the one token may act as an owner", hint)
    deployment = check_deployment(findings, settings.deployment)
    if deployment is None:
        return
    checkup = Checkup(findings, "libmpc gateway", settings, deployment, clock or SystemClock())
    checkup.keys()
    try:
        identity = GatewayIdentity.load(settings.keys)
        deployment.check_gateway(identity.static_public)
    except ConfigError as error:
        hint = "restore the key from a backup, or get the file that was made with it"
        findings.fail("keys", str(error), hint)
        return
    findings.ok("keys", "those of a gateway of the deployment file")
    checkup.data()
    _check_tokens(findings, settings)
    own = [g.url for g in deployment.gateways if g.static_key == identity.static_public]
    usable = checkup.certificate(own[0])
    checkup.ports()
    if usable:
        asyncio.run(_check_parties(checkup, deployment, identity))


def _check_tokens(findings: Findings, settings: GatewaySettings) -> None:
    if not settings.data.is_dir():
        findings.warn("tokens", "there are none yet", "libmpc token create --config gateway.yaml")
        return
    try:
        store = AccessStore(settings.data)
        try:
            count = len(store.grants())
        finally:
            store.close()
    except (ConfigError, sqlite3.Error) as error:
        findings.fail("tokens", f"their file cannot be read: {error}", "restore it from a backup")
        return
    if count or settings.token_sha256 is not None:
        findings.ok("tokens", f"{count:,} may be used, or could until they expired")
    else:
        findings.warn("tokens", "there are none", "libmpc token create --config gateway.yaml")


async def _check_parties(
    checkup: Checkup, deployment: Deployment, identity: GatewayIdentity
) -> None:
    local = LocalIdentity(GATEWAY, identity.static, deployment.id)
    for party in deployment.parties:
        for triple, url in enumerate(party.urls):
            of = f" of triple {triple}" if deployment.triples > 1 else ""
            who = f"party {party.index}{of}"
            if not await asyncio.to_thread(checkup.peer, who, url):
                continue
            remote = RemoteIdentity(party.index, party.static_key, party.static_keys[1:])
            try:
                found = await _ask(checkup, local, remote, url)
            except (LinkError, ServiceError, ConfigError, WireError) as error:
                reason = getattr(error, "reason", str(error))
                hint = "does its deployment file name this gateway's key, and ours its? See its log"
                checkup.findings.fail(who, f"no link: {reason}", hint)
            else:
                _tell(checkup, who, found)


async def _ask(
    checkup: Checkup, local: LocalIdentity, remote: RemoteIdentity, url: str
) -> PartyBody:
    """A link of its own, which proves who is there, and what the party says of itself."""
    with checkup.tls() as tls:
        stream = await connect_stream(url, tls if url.startswith("https") else None)
    session = Session(remote.index, await connect(stream, local, remote), LoopTimers())
    try:
        return describe(remote.index, await session.call(Kind.STATUS, b"1", timeout=_SECONDS))
    finally:
        await session.close()


def _tell(checkup: Checkup, who: str, found: PartyBody) -> None:
    findings = checkup.findings
    if found.clock_ms is not None:
        ahead = found.clock_ms / 1000 - checkup.clock.now()
        if abs(ahead) >= _SKEW:
            side = "ahead of" if ahead > 0 else "behind"
            text = f"{abs(ahead):,.0f} s {side} this one"
            findings.warn(f"clock of {who}", text, "set the one that is wrong, with NTP")
    if found.ready:
        findings.ok(who, f"has proven its key; version {found.version}, ready")
    else:
        findings.fail(who, f"has proven its key, and is not ready: {found.reason}", "see its log")
