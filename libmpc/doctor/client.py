"""All checks from a client's side: from its files to the answer of a query."""

from __future__ import annotations

from pathlib import Path

from libmpc.client.connection import Connection
from libmpc.client.runner import PausingClock, Runner
from libmpc.client.shell import BlockingClock, uses_proxy
from libmpc.client.sync import Client
from libmpc.doctor.files import check_files
from libmpc.doctor.findings import Findings
from libmpc.doctor.gateway import Gateway, check_deployment, check_gateway, check_keys
from libmpc.doctor.model import check_model, check_models, check_query
from libmpc.doctor.network import reach


def diagnose(
    findings: Findings,
    deployment: Path,
    model: str | None = None,
    *,
    query: bool = False,
    timeout: float = 10.0,
    clock: PausingClock | None = None,
) -> None:
    """Check a deployment as far as one can get; what cannot be reached is not guessed at.

    Args:
        deployment: the deployment file, or its directory.
        model: look at this one, too.
        query: ask it once, which counts as a request.
        timeout: seconds for each answer.
        clock: a seam for tests.
    """
    connection = check_files(findings, deployment)
    if connection is None:
        return
    clock = clock or BlockingClock()
    runner = Runner(connection, clock)
    try:
        usable = [
            gateway
            for url in connection.urls
            if (gateway := _gateway(findings, connection, url, runner, clock, timeout)) is not None
        ]
        if not usable:
            return
        gateway = usable[0]
        status = check_deployment(findings, gateway)
        check_keys(findings, gateway)
        if model is None:
            if status is not None:
                check_models(findings, status)
        elif check_model(findings, gateway, model, status) and query:
            with Client(deployment, timeout=max(timeout, 30.0), retries=0, clock=clock) as client:
                check_query(findings, client, model, gateway)
    finally:
        runner.close()


def _gateway(
    findings: Findings,
    connection: Connection,
    url: str,
    runner: Runner,
    clock: PausingClock,
    timeout: float,
) -> Gateway | None:
    """One of the deployment's gateways, if it can be used."""
    way = 0.0
    if uses_proxy(connection):
        hint = "it must pass TCP through: what is inside TLS is for the gateway only"
        findings.warn("proxy", "the environment names a proxy; its port is not looked at", hint)
    else:
        found = reach(findings, "gateway", url, connection.deployment.tls_ca, clock)
        if found is None:
            return None
        way = found
    gateway = Gateway(connection, url, runner, clock, timeout)
    return gateway if check_gateway(findings, gateway, way) else None
