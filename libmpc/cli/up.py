"""``libmpc up``: a local deployment until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Annotated

import typer

from libmpc.cli.texts import examples
from libmpc.errors import ServiceError

_EPILOG = examples(
    "libmpc up --dir run",
    "libmpc up --dir run --port 8443     # the gateway; parties and probes take the next seven",
    "libmpc up --dir run --triples 2     # two processes of each party, to answer more queries",
)
_WIDTH = 9


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "up", epilog=_EPILOG, short_help="Run three parties and a gateway on this machine."
    )(up)


def up(
    directory: Annotated[
        Path,
        typer.Option("--dir", metavar="DIR", help="Keys, shares and settings; kept and reused."),
    ],
    port: Annotated[
        int | None,
        typer.Option(
            metavar="P",
            help="The gateway's port; the next seven are taken too, and six more for every further"
            " triple. By default free ones.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The address to bind.")
    ] = "127.0.0.1",
    triples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=64,
            help="How many processes each party has. By default as many as before, at first one.",
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long starting may take.")
    ] = 120.0,
) -> None:
    """Run three parties and a gateway on this machine, until Ctrl-C. For trying out only.

    Each service is a process of its own and is started again when it dies. DIR/deployment.yaml is
    there for as long as queries can be answered.
    """
    from libmpc.cluster.local_deployment import running

    signals = _signals()
    print_line = _Printer()
    print_line("up", "for trying out only: whoever controls this machine can read everything")
    with running(
        directory,
        print_line,
        host=host,
        port=port,
        logs=False,
        timeout=timeout,
        interrupted=lambda: not signals.empty(),
        triples=triples,
    ) as services:
        if not signals.empty():
            raise ServiceError("stopped before it was ready")
        path = directory / "deployment.yaml"
        if services.triples > 1:
            print_line("up", f"{services.triples} triples are ready")
        print_line("up", f"ready; in another terminal: export LIBMPC_DEPLOYMENT={path}")
        print_line("up", f"{_wait(signals)}: stopping")
    print_line("up", "stopped")


class _Printer:
    """Prints lines of several services, each with the name of its service."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, name: str, line: str) -> None:
        # Whoever read along may have gone; services must not stop for that.
        with self._lock, contextlib.suppress(OSError, ValueError):
            sys.stdout.write(f"{name:<{_WIDTH}} | {line}\n")
            sys.stdout.flush()


def _signals() -> SimpleQueue[int]:
    """What signals arrive from now on.

    Installed explicitly: a shell starts background jobs with SIGINT ignored.
    """
    arrived: SimpleQueue[int] = SimpleQueue()  # its put may be called from a handler

    def remember(number: int, _: object) -> None:
        arrived.put(number)

    signal.signal(signal.SIGINT, remember)
    signal.signal(signal.SIGTERM, remember)
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:  # unless under nohup
        signal.signal(hang_up, remember)
    return arrived


def _wait(signals: SimpleQueue[int]) -> str:
    while True:
        with contextlib.suppress(Empty):
            return signal.Signals(signals.get(timeout=1.0)).name
