"""``libmpc bench``: how quickly a model of one's own answers, on one's own deployment."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.options import (
    ArrayOption,
    DeploymentOption,
    JsonOption,
    NameArgument,
    TimeoutOption,
    UsageError,
    required,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import examples, result

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from libmpc.client.measuring import Measurement
    from libmpc.wire.descriptor import Descriptor

_EPILOG = examples(
    "libmpc bench mnist",
    "libmpc bench mnist --batch 1 --concurrency 32 --duration 30",
    "libmpc bench mnist --output label",
    "libmpc bench mnist --batch 1 --queries 200 --pause 0.1 --input digits.npy --json",
)
_BATCHES = (1, 8, 32, 128)
_SECONDS = 5.0
_QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "bench",
        epilog=_EPILOG,
        short_help="Measure how quickly a model answers, as clients see it.",
    )(bench)


def bench(
    name: NameArgument,
    batches: Annotated[
        list[int] | None,
        typer.Option(
            "--batch",
            metavar="N",
            min=1,
            max=16384,
            help="Samples in each query; say it again for more sizes. By default 1, 8, 32, 128.",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="KIND",
            help="What to ask for, as 'libmpc query' does; by default all that the owner allows.",
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            metavar="C", min=1, max=1024, help="Clients that ask at the same time, from here."
        ),
    ] = 1,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.1, help="How long to ask, for each batch size [5]."),
    ] = None,
    queries: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Ask so many queries of each size instead."),
    ] = None,
    pause: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.0, help="Wait before each query, so that masks are ready."
        ),
    ] = 0.0,
    inputs: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="IN",
            help="Samples to ask about (.npy, .npz), repeated or cut to each batch size.",
        ),
    ] = None,
    array: ArrayOption = None,
    timeout: TimeoutOption = 60.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a served model again and again, and show how long answers take and how many come.

    Seen from this client's side: a query's time includes checking, sharing and sealing the input,
    the way there and back, retries, and opening the answer. Inputs are random within the model's
    declared range, unless --input has some. Without --pause the queries follow each other at once,
    so that after a while the parties make masks as fast as they are used: that is the sustained
    rate. With it, and one client, each query finds masks ready: that is the latency of a system
    that is not busy.

    Every query counts where the model's requests are limited. A query that fails ends the command.
    """
    from libmpc.cli.arrays import read_array
    from libmpc.client import Client
    from libmpc.client.measuring import measure

    if duration is not None and queries is not None:
        raise UsageError("give --duration or --queries, not both")
    if array is not None and inputs is None:
        raise UsageError("--array names an array of --input IN; give that file, too")
    path = required(deployment)
    samples = None if inputs is None else read_array(inputs, array)
    seconds = _SECONDS if duration is None and queries is None else duration
    found = []
    with Progress(f"measuring {name}") as progress:
        with Client(path, timeout=timeout) as client:
            descriptor = client.describe(name)
        sizes = batches or list(_BATCHES)
        for batch in sizes:
            shown = _Shown(progress, batch, sizes.index(batch), len(sizes), seconds, queries)
            found.append(
                measure(
                    lambda: Client(path, timeout=timeout),
                    name,
                    _query(descriptor, samples, batch),
                    concurrency=concurrency,
                    queries=queries,
                    seconds=seconds,
                    output=output,
                    before=_waiting(pause),
                    progress=shown,
                )
            )
    document = {
        "name": name,
        "model": descriptor.model,
        "output": output or descriptor.output,
        "input": "random" if inputs is None else str(inputs),
        "pause_seconds": pause,
        "results": [_row(one) for one in found],
    }
    result(document, "" if as_json else _text(found), as_json)


class _Shown:
    """Progress over all batch sizes together."""

    def __init__(
        self,
        progress: Progress,
        batch: int,
        place: int,
        places: int,
        seconds: float | None,
        queries: int | None,
    ) -> None:
        self._progress, self._doing = progress, f"queries of {batch}"
        self._place, self._places = place, places
        self._seconds, self._queries = seconds, queries
        self._begin = time.monotonic()

    def __call__(self, done: int) -> None:
        if self._queries is not None:
            share = done / self._queries
        else:
            share = (time.monotonic() - self._begin) / (self._seconds or 1.0)
        self._progress.stage(
            self._doing, int(100 * (self._place + min(share, 1.0))), 100 * self._places
        )


def _query(
    descriptor: Descriptor, samples: NDArray[np.generic] | None, batch: int
) -> NDArray[np.generic]:
    """A batch of that size: the samples repeated, or random numbers in the declared range."""
    import numpy as np

    if samples is None:
        low, high = descriptor.input_range
        shape = (batch, *descriptor.input_shape)
        return np.random.default_rng(0).uniform(low, high, shape)
    if samples.ndim == 0 or not len(samples):
        return samples  # refused when it is asked, with the reason
    return samples[np.arange(batch) % len(samples)]


def _waiting(pause: float) -> Callable[[], None]:
    def wait() -> None:
        if pause:
            time.sleep(pause)

    return wait


def _row(found: Measurement) -> dict[str, Any]:
    return {
        "batch": found.batch,
        "concurrency": found.concurrency,
        "queries": found.queries,
        "seconds": round(found.seconds, 6),
        **{f"{name}_seconds": round(found.quantile(q), 6) for name, q in _QUANTILES.items()},
        "samples_per_second": round(found.samples_per_second, 3),
    }


def _text(found: list[Measurement]) -> str:
    from libmpc.cli.tables import Column, table

    titles = ("BATCH", "CLIENTS", "QUERIES", "MEDIAN", "90 %", "99 %", "MAX", "SAMPLES/S")
    rows = [
        (
            f"{one.batch:,}",
            f"{one.concurrency:,}",
            f"{one.queries:,}",
            *(f"{1e3 * one.quantile(q):,.1f} ms" for q in _QUANTILES.values()),
            f"{one.samples_per_second:,.1f}",
        )
        for one in found
    ]
    return table([Column(title, right=True) for title in titles], rows)
