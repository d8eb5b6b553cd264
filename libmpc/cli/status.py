"""``libmpc status``: parties, triples, models and pools, once or as a table that lives."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.options import DeploymentOption, JsonOption, TimeoutOption, required
from libmpc.cli.progress import Progress
from libmpc.cli.texts import examples

if TYPE_CHECKING:
    from libmpc.client.status import PartyState, Status

Ask = Callable[[], "Status"]
_EPILOG = examples("libmpc status", "libmpc status --watch", "libmpc status --json")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", epilog=_EPILOG, short_help="Show parties, triples, models and pools.")(
        status
    )


def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Ask again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float,
        typer.Option(
            "--every", metavar="SECONDS", min=0.5, max=3600, help="With --watch: how often."
        ),
    ] = 2.0,
    timeout: TimeoutOption = 10.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which parties, triples and models are ready, by the gateway's word.

    Exit code 0: queries can be answered. 1: they cannot, or the gateway does not answer. For each
    model, bundles that are ready at both evaluators are shown by batch size. A client's token sees
    its own models, and not how much others ask. With --json --watch there is one document a line.
    'libmpc doctor' looks further where something is wrong.
    """
    from libmpc.client import Client

    path = required(deployment)
    # A retry would only show the same thing later.
    with Client(path, timeout=timeout, retries=0) as client:
        if watch:
            _watch(client.status, _pauses(every), as_json)
            return
        with Progress("asking the gateway"):
            found = client.status()
    typer.echo(json.dumps(document(found), indent=2) if as_json else text(found))
    if not found.ready:
        raise typer.Exit(1)


def _pauses(seconds: float) -> Iterator[None]:
    while True:
        yield
        time.sleep(seconds)


def _watch(ask: Ask, turns: Iterator[None], as_json: bool) -> None:
    """Ask at every turn and show the answer, or why there is none."""
    from libmpc.errors import ServiceError

    def look() -> tuple[dict[str, Any], str]:
        try:
            found = ask()
        except ServiceError as error:
            return {"ready": False, "reason": str(error)}, f"not ready: {error}"
        return document(found), text(found)

    if as_json or not sys.stdout.isatty():
        for _ in turns:
            said, shown = look()
            typer.echo(json.dumps(said) if as_json else f"{time.strftime('%H:%M:%S')} {shown}\n")
        return
    from rich.live import Live
    from rich.text import Text

    with Live(auto_refresh=False, screen=True) as live:
        for _ in turns:
            shown = f"{time.strftime('%H:%M:%S')}  Ctrl-C ends it\n\n{look()[1]}"
            live.update(Text.from_ansi(shown), refresh=True)


def document(found: Status) -> dict[str, Any]:
    """As JSON: times in seconds."""
    from dataclasses import asdict

    return {**asdict(found), "pools": {one.name: found.pools(one.name) for one in found.models}}


def text(found: Status) -> str:
    """For people."""
    head = "ready" if found.ready else f"not ready: {found.reason}"
    parts = [f"{head}\n{_gateway(found)}", _parties(found)]
    parts.append(_models(found) if found.models else "no models are stored that you may see")
    return "\n\n".join(parts)


def _gateway(found: Status) -> str:
    gateway = found.gateway
    line = f"gateway {gateway.version}, up {age(gateway.uptime)}"
    if gateway.waiting is not None and gateway.batches is not None:
        ended = ", ".join(f"{n:,} {how}" for how, n in gateway.queries.items() if n)
        line += f"; waiting: {gateway.waiting:,}, batches under way: {gateway.batches:,}"
        line += f"; queries: {ended or 'none yet'}"
    return line


def _parties(found: Status) -> str:
    from libmpc.cli.tables import Column, table

    columns = ("TRIPLE", "PARTY", "STATE", "VERSION", "UP FOR", "EPOCH", "REASON")
    rows = [
        (
            str(triple.triple),
            str(one.party),
            _state(one),
            one.version or "?",
            "?" if one.uptime is None else age(one.uptime),
            one.epoch or "-",
            one.reason,
        )
        for triple in found.triples
        for one in triple.parties
    ]
    return table([Column(title) for title in columns], rows)


def _state(party: PartyState) -> str:
    if not party.up:
        return "down"
    return "ready" if party.ready else "not ready"


def _models(found: Status) -> str:
    from libmpc.cli.tables import Column, table

    columns = ("MODEL", "STATE", "READY", "REQUESTS", "BUNDLES READY, BY BATCH SIZE")
    rows = []
    for one in found.models:
        limit = "" if one.num_requests is None else f" of {one.num_requests:,}"
        levels = found.pools(one.name)
        pools = ", ".join(f"{batch}: {ready}" for batch, ready in levels.items()) or "none"
        rows.append(
            (one.name, one.state, "yes" if one.ready else "no", f"{one.served:,}{limit}", pools)
        )
    return table([Column(title) for title in columns], rows)


def age(seconds: float) -> str:
    """``42 s``, ``17 min``, ``5.2 h``, ``12 d``."""
    for unit, length, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit}" if unit != "h" else f"{seconds / 3600:.1f} h"
    return f"{seconds / 86_400:.0f} d"
