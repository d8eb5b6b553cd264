"""``libmpc doctor``: what is wrong with a deployment, and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from libmpc.cli.options import DeploymentOption, JsonOption, TimeoutOption, UsageError, required
from libmpc.cli.texts import count, examples

if TYPE_CHECKING:
    from libmpc.doctor.findings import Finding, Findings

_EPILOG = examples(
    "libmpc doctor",
    "libmpc doctor mnist --query",
    "libmpc doctor --json",
)
_SIGNS = {"ok": "✓", "warning": "!", "error": "✗"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor", epilog=_EPILOG, short_help="Check a deployment, and say what to do.")(
        doctor
    )


def doctor(
    model: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A model to look at, too.")
    ] = None,
    query: Annotated[
        bool,
        typer.Option("--query", help="Ask the model once, with zeros. It counts as a request."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="PATH",
            help="Check the service of this party.yaml or gateway.yaml instead, on its machine.",
        ),
    ] = None,
    timeout: TimeoutOption = 10.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a deployment step by step: one line a check, and what to do where one fails.

    From a client's side: the files and who may read and change them, name, port and certificate
    of the gateway, its version, the token and its limits, clocks, every party, the parties' keys
    and the model, as far as their signatures prove it.

    With --config, from an operator's: the service's settings, keys, certificates, data directory,
    ports, and the services that it talks to. It may run meanwhile; nothing is changed.

    Exit code 0: nothing failed (lines with ! may need a look). 1: something did.
    """
    from libmpc.doctor.findings import Findings

    if query and model is None:
        raise UsageError("--query wants a model: libmpc doctor NAME --query")
    findings = Findings(lambda finding: None if as_json else typer.echo(line(finding)))
    if config is None:
        from libmpc.doctor.client import diagnose

        diagnose(findings, required(deployment), model, query=query, timeout=timeout)
    elif model is not None:
        raise UsageError("--config checks a service, not a model")
    else:
        _check_service(findings, config)
    if as_json:
        from dataclasses import asdict

        checks = [asdict(finding) for finding in findings.found]
        typer.echo(json.dumps({"ok": not findings.failed, "checks": checks}, indent=2))
    else:
        typer.echo(f"\n{summary(findings)}")
    if findings.failed:
        raise typer.Exit(1)


def _check_service(findings: Findings, config: Path) -> None:
    from libmpc.cli.service import check
    from libmpc.errors import ConfigError
    from libmpc.identity.yamlfile import read_mapping

    try:
        settings = read_mapping(config, "the settings file")
    except ConfigError as error:
        findings.fail("settings", str(error), "give the party.yaml or gateway.yaml of a service")
        return
    check("party" if "index" in settings else "gateway", findings, config)


def line(finding: Finding) -> str:
    """One check, and what to do."""
    text = f"{_SIGNS[finding.level]} {finding.check}: {finding.text}"
    return f"{text}\n    → {finding.hint}" if finding.hint else text


def summary(findings: Findings) -> str:
    """What it comes to."""
    levels = [finding.level for finding in findings.found]
    failed, warned = levels.count("error"), levels.count("warning")
    checks = count(len(levels), "check")
    if not failed and not warned:
        return f"{checks}: all is well"
    found = [f"{n} {what}" for n, what in ((failed, "failed"), (warned, "to look at")) if n]
    return f"{checks}: {', '.join(found)}; see docs/troubleshooting.md"
