"""Parties that are far from each other: one image with a delay on every link between them."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.delay import delayed_cluster
from benchmarks.deployment import served
from benchmarks.networks import CNN
from benchmarks.rows import Options, Row
from benchmarks.serving import single

_ONE_WAY = 0.020


def far(options: Options) -> Iterator[Row]:
    """20 ms one way, as between neighbouring countries."""
    with delayed_cluster(_ONE_WAY) as cluster, served(cluster, CNN) as subject:
        row = single(subject, "far", 14 * 20 + 60, 5 if options.quick else 30)
    row.title += ", 20 ms one way between parties"
    yield row


GROUPS = {"far": far}
