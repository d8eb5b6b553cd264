"""``libmpc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from libmpc.cli.texts import examples

_EPILOG = examples("libmpc demo", "libmpc demo --digits 40")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "demo",
        epilog=_EPILOG,
        short_help="Classify real digits on this machine, and show who saw what.",
    )(demo)


def demo(
    digits: Annotated[
        int, typer.Option(metavar="K", min=1, max=256, help="How many digits to classify.")
    ] = 12,
    directory: Annotated[
        Path | None,
        typer.Option("--dir", metavar="DIR", help="Keep keys, shares and logs here."),
    ] = None,
) -> None:
    """Classify real handwritten digits with three parties on this machine, and show who saw what.

    Starts three parties and a gateway as processes, shares the network that ships with libmpc,
    asks it, compares every answer with the plaintext reference, and ends by itself.
    """
    from libmpc.demo import run

    run(digits, directory, typer.echo)
