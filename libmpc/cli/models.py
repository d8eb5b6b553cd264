"""``libmpc models``, ``serve``, ``stop`` and ``delete``: what is stored, and who may ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import typer

from libmpc.cli.options import (
    DeploymentOption,
    JsonOption,
    LimitOption,
    NameArgument,
    TimeoutOption,
    required,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import examples, result

if TYPE_CHECKING:
    from libmpc.client.card import ModelSummary

_DONE = {
    "serve": "is served",
    "stop": "is stopped: still stored, no longer answering",
    "delete": "is deleted at all three parties",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    listed = examples("libmpc models", "libmpc models --json")
    app.command("models", epilog=listed, short_help="List the stored models.")(models)
    served = examples("libmpc serve mnist", "libmpc serve mnist --num-requests 100")
    app.command("serve", epilog=served, short_help="Answer queries.")(serve)
    stopped = examples("libmpc stop mnist")
    app.command("stop", epilog=stopped, short_help="Answer no more queries.")(stop)
    deleted = examples("libmpc delete mnist")
    app.command("delete", epilog=deleted, short_help="Delete a model's shares.")(delete)


def models(
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the models that are stored, whether they are served, and how many requests they had."""
    from libmpc.client import Client

    path = required(deployment)
    with Progress("asking the gateway"), Client(path, timeout=timeout) as client:
        found = client.models()
    fields = ("name", "state", "ready", "num_requests", "served", "model")
    listed = [{field: getattr(one, field) for field in fields} for one in found]
    result({"models": listed}, _table(found), as_json)


def serve(
    name: NameArgument,
    num_requests: LimitOption = None,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer queries: K requests from now on, or without a limit until stopped.

    The parties themselves count. Saying it again starts the count anew.
    """
    _command("serve", name, num_requests, timeout, deployment, as_json)


def stop(
    name: NameArgument,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Answer no more queries; the parties keep their shares, and 'serve' goes on."""
    _command("stop", name, None, timeout, deployment, as_json)


def delete(
    name: NameArgument,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make all three parties delete their shares. Only another push brings the model back."""
    _command("delete", name, None, timeout, deployment, as_json)


def _command(
    action: Literal["serve", "stop", "delete"],
    name: str,
    num_requests: int | None,
    timeout: float,
    deployment: DeploymentOption,
    as_json: bool,
) -> None:
    from libmpc.cluster.remote import Cluster

    path = required(deployment)
    with Progress(f"{action} {name}"), Cluster.from_file(path, timeout=timeout) as cluster:
        # What not all parties hold can be stopped and deleted, too.
        found = [cluster.model(name)] if action == "serve" else cluster.stored(name)
        for served in found:
            if action == "serve":
                served.serve(num_requests)
            elif action == "stop":
                served.stop()
            else:
                served.delete()
    document: dict[str, object] = {"name": name, "model": found[0].model, "action": action}
    if action == "serve":
        document["num_requests"] = num_requests
    limit = f", {num_requests} requests" if num_requests is not None else ""
    result(document, f"{name} {_DONE[action]}{limit}", as_json)


def _table(found: list[ModelSummary]) -> str:
    if not found:
        return "no models are stored; share one with: libmpc push MODEL --name NAME ..."
    rows = [("NAME", "STATE", "READY", "REQUESTS", "MODEL")]
    for one in found:
        limit = "" if one.num_requests is None else f" of {one.num_requests}"
        ready = "yes" if one.ready else "no"
        rows.append((one.name, one.state, ready, f"{one.served}{limit}", one.model[:16]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(padded)
