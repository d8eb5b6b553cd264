"""How commands talk: examples in their help, results on stdout, everything else on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer


def examples(*lines: str) -> str:
    """An epilog with examples that keep their lines."""
    listed = "\n".join(f"  {line}" for line in lines)
    title = "Example:" if len(lines) == 1 else "Examples:"
    return f"\b\n{title}\n{listed}"


def say(line: str = "") -> None:
    """A line for a person who reads along: on stderr, so that stdout has results only."""
    typer.echo(line, err=True)


def result(document: Mapping[str, Any], text: str, as_json: bool) -> None:
    """What a command has found out: one JSON document, or a text for people."""
    typer.echo(json.dumps(document, indent=2) if as_json else text)


def count(number: int, what: str) -> str:
    """``1 input``, ``2 inputs``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
