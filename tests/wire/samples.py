"""One valid document of each kind, out of the frozen vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from libmpc.wire import (
    Command,
    Descriptor,
    Document,
    Manifest,
    PartyKey,
    PushHeader,
    QueryHeader,
    Receipt,
)

FOLDER = Path(__file__).parents[1] / "vectors"
KINDS: dict[str, type[Document]] = {
    kind.__name__: kind for kind in (Manifest, Descriptor, Command, PartyKey, Receipt)
}


def vectors(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def documents() -> list[tuple[type[Document], dict[str, Any]]]:
    """(kind, fields) of every kind of document."""
    found = [(KINDS[d["kind"]], d["fields"]) for d in vectors("documents")["documents"]]
    info = vectors("info")
    return [*found, (QueryHeader, info["query_header"]), (PushHeader, info["push_header"])]


def manifest(**changes: object) -> Manifest:
    fields = next(fields for kind, fields in documents() if kind is Manifest)
    return Manifest.parse(json.dumps({**fields, **changes}).encode())
