"""What another triple adds: throughput with one, two and three of them.

Twice, since here all of them share one machine. ``near``: as quickly as the machine goes. Its cores
are busy with one triple already, so this shows what several cost where there is nothing to gain.
``far``: 20 ms one way between parties, and a gateway that sends one query a batch and four batches
a triple. Then a triple's time goes by in waiting, as it does on a machine of its own where that is
the bottleneck; how much two and three answer tells whether queries are spread, and nothing about
how quick a machine is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import libmpc
from benchmarks.delay import delayed_cluster
from benchmarks.deployment import Subject, served
from benchmarks.environment import variable
from benchmarks.networks import CNN
from benchmarks.rows import Options, Row

_TRIPLES = (1, 2, 3)
_CLIENTS = 24
_ONE_WAY = 0.020
#: of a gateway: the queries of a batch, and the batches of a triple that are under way
_NARROW = {"BATCH_QUERIES": "1", "BATCHES": "4", "MAX_BATCHES": "4"}


def near(options: Options) -> Iterator[Row]:
    """One cluster, which gets a triple more each time, while it runs."""
    with libmpc.LocalCluster(timeout=300) as cluster, served(cluster, CNN) as subject:
        for triples in _TRIPLES:
            cluster.scale(triples)
            yield _row(subject, options, triples, "shared cores", "near")


def far(options: Options) -> Iterator[Row]:
    """A cluster for each number of triples."""
    alone = 0.0
    for triples in _TRIPLES:
        with contextlib.ExitStack() as stack:
            for name, value in _NARROW.items():
                stack.enter_context(variable(f"LIBMPC_GATEWAY_{name}", value))
            cluster = stack.enter_context(delayed_cluster(_ONE_WAY, triples=triples))
            subject = stack.enter_context(served(cluster, CNN))
            row = _row(subject, options, triples, "20 ms one way, four queries a triple", "far")
        alone = alone or row.value
        row.figures["times_one_triple"] = round(row.value / alone, 2)
        yield row


def _row(subject: Subject, options: Options, triples: int, what: str, where: str) -> Row:
    seconds = 5 if options.quick else 20
    # A client meets a triple that is new within ten seconds.
    found = subject.ask(1, concurrency=_CLIENTS, seconds=seconds, warm_up=20)
    title = f"{CNN.title}, {_CLIENTS} clients, {triples} triple{'s'[: triples > 1]}, {what}"
    figures = {
        "triples": triples,
        "where": where,
        "queries": found.queries,
        "median_ms": round(1e3 * found.median, 1),
        "p99_ms": round(1e3 * found.quantile(0.99), 1),
    }
    return Row("triples", title, found.samples_per_second, "images/s", None, figures)


def triples(options: Options) -> Iterator[Row]:
    """Both."""
    yield from near(options)
    yield from far(options)


GROUPS = {"triples": triples}
