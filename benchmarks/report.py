"""The results as a table for people, as Markdown for documents, and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.machine import sentence
from benchmarks.rows import Row
from libmpc.cli.tables import Column, table

_PARTS = ("party 0", "party 1", "party 2", "gateway", "client")
_HEAD = ("", "measured", "target", "", "99 %", "× numpy")
_COSTS = (
    "",
    "CPU ms an image: P0",
    "P1",
    "P2",
    "gateway",
    "client",
    "peak MB: P0",
    "P1",
    "P2",
    "gateway",
    "rounds",
    "bytes an image P0→P1",
    "P2→P1",
)


def text(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    """Two tables: results with targets, and what they cost."""
    first = _table(_HEAD, [_result(row) for row in rows])
    second = _table(_COSTS, [_cost(row) for row in rows if "cpu_ms_per_image" in row.figures])
    return f"{sentence(machine)}\n\n{first}\n\n{second}"


def markdown(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    """The same for a document."""
    first = _markdown(_HEAD, [_result(row) for row in rows])
    second = _markdown(_COSTS, [_cost(row) for row in rows if "cpu_ms_per_image" in row.figures])
    return f"{sentence(machine)}\n\n{first}\n{second}"


def document(machine: dict[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that was seen, for programs."""
    return {
        "machine": machine,
        "plaintext": "numpy, float64, the network as its framework has it, same query",
        "results": [row.document() for row in rows],
    }


def _result(row: Row) -> tuple[str, ...]:
    sign = "≥" if row.more_is_better else "≤"
    target = f"{sign} {row.target:,g} {row.unit}" if row.target is not None else ""
    met = {None: "", True: "yes", False: "no"}[row.met]
    p99, times = row.figures.get("p99_ms"), row.figures.get("times_plaintext")
    return (
        row.title,
        f"{_round(row.value)} {row.unit}",
        target,
        met,
        f"{_round(p99)} ms" if p99 is not None else "",
        _round(times) if times is not None else "",
    )


def _cost(row: Row) -> tuple[str, ...]:
    cpu, memory = row.figures["cpu_ms_per_image"], row.figures.get("memory_mb", {})
    sent = row.figures.get("sent_bytes_per_image", {})
    return (
        row.title,
        *(_round(cpu[part]) if part in cpu else "" for part in _PARTS),
        *(f"{memory[part]['peak']:,.0f}" if part in memory else "" for part in _PARTS[:4]),
        f"{row.figures['rounds']}" if "rounds" in row.figures else "",
        *(f"{sent[link]:,}" if link in sent else "" for link in ("0 to 1", "2 to 1")),
    )


def _round(value: float) -> str:
    """Three digits that matter, or all before the point."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    columns = [Column(title, right=place > 0) for place, title in enumerate(head)]
    return table(columns, rows)


def _markdown(head: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    rules = ["---", *("---:" for _ in head[1:])]
    lines = [tuple(head), tuple(rules), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
