"""The second half of ``libmpc explain``: estimated latency and throughput, network by network."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from libmpc.graph.plan import Plan

#: what a latency goes to: its key, how a bar shows it, and what it is
PARTS = (
    ("delay", "█", "delay"),
    ("transfer", "▓", "bytes"),
    ("rounds", "▒", "rounds without delay"),
    ("query", "░", "client, gateway and envelopes"),
    ("arithmetic", "·", "arithmetic"),
)
_WIDTH = 40


def estimates(plan: Plan, batch: int, own: tuple[float, float] | None = None) -> dict[str, Any]:
    """Latency of one query and throughput of every batch size, for the named networks.

    Args:
        batch: samples in the query.
        own: one more network: milliseconds one way, and megabits a second.
    """
    from libmpc.runtime.forecast import NETWORKS, Forecast, Network
    from libmpc.runtime.ladder import LADDER

    networks = list(NETWORKS)
    if own is not None:
        networks.append(Network("yours", own[0] / 1e3, own[1] * 1e6 / 8))
    forecast = Forecast(plan)
    rows = []
    for network in networks:
        latency = forecast.latency(batch, network)
        flows = [forecast.throughput(rung, network) for rung in LADDER]
        rows.append(
            {
                "name": network.name,
                "delay_seconds": network.delay,
                "bandwidth_bytes_per_second": _finite(network.bandwidth),
                "shared_cores": network.shared_cores,
                "latency_seconds": {**asdict(latency), "total": latency.total},
                "throughput": [
                    {
                        "batch": flow.batch,
                        "images_per_second": flow.images,
                        "bound": flow.bound,
                        "allowed_by": {
                            "processor": flow.processor,
                            "bandwidth": _finite(flow.bandwidth),
                            "delay": flow.delay,
                        },
                    }
                    for flow in flows
                ],
            }
        )
    return {"machine": asdict(forecast.machine), "networks": rows}


def text(document: Mapping[str, Any], batch: int) -> str:
    """Both tables, with bars."""
    rows = document["networks"]
    legend = "  ".join(f"{sign} {what}" for _, sign, what in PARTS)
    samples = "one sample" if batch == 1 else f"{batch:,} samples"
    return "\n".join(
        (
            f"Estimated latency of one query of {samples}, with a bundle ready:",
            _latencies(rows),
            legend,
            "",
            "Estimated samples a second, by batch size, preprocessing included:",
            _throughputs(rows),
            "",
            f"For machines like the one that was measured: {document['machine']['name']}.",
        )
    )


def _latencies(rows: Sequence[Mapping[str, Any]]) -> str:
    from libmpc.cli.tables import Column, table

    columns = (
        Column("NETWORK"),
        Column("ONE WAY", right=True),
        Column("BANDWIDTH", right=True),
        Column("LATENCY", right=True),
        Column("WHERE IT GOES"),
    )
    cells = []
    for row in rows:
        latency = row["latency_seconds"]
        bandwidth = row["bandwidth_bytes_per_second"]
        cells.append(
            (
                row["name"],
                _milliseconds(row["delay_seconds"]) if row["delay_seconds"] else "",
                f"{8e-6 * bandwidth:,.0f} Mbit/s" if bandwidth else "",
                _milliseconds(latency["total"]),
                bar([latency[key] for key, _, _ in PARTS]),
            )
        )
    return table(columns, cells)


def bar(parts: Sequence[float]) -> str:
    """One line that is split as ``parts`` are, one sign each; the cuts are rounded."""
    total, end, line = sum(parts), 0.0, ""
    for (_, sign, _), part in zip(PARTS, parts, strict=True):
        end += part
        line += sign * (round(_WIDTH * end / total) - len(line))
    return line


def _throughputs(rows: Sequence[Mapping[str, Any]]) -> str:
    from libmpc.cli.tables import Column, table

    batches = [flow["batch"] for flow in rows[0]["throughput"]]
    columns = (
        Column("NETWORK"),
        *(Column(str(batch), right=True) for batch in batches),
        Column("LARGEST IS BOUND BY"),
        Column(""),
    )
    most = max(flow["images_per_second"] for row in rows for flow in row["throughput"])
    cells = []
    for row in rows:
        flows = row["throughput"]
        last = flows[-1]
        cells.append(
            (
                row["name"],
                *(_rate(flow["images_per_second"]) for flow in flows),
                last["bound"],
                "█" * max(1, round(_WIDTH * last["images_per_second"] / most)),
            )
        )
    return table(columns, cells)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g} ms" if seconds < 1 else f"{1e3 * seconds:,.0f} ms"


def _rate(images: float) -> str:
    return f"{images:.2g}" if images < 10 else f"{images:,.0f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
