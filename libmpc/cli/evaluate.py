"""``libmpc evaluate``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.options import (
    BatchSizeOption,
    DeploymentOption,
    JsonOption,
    NameArgument,
    TimeoutOption,
    UsageError,
    required,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import count, examples, result

if TYPE_CHECKING:
    from libmpc.client.evaluating import Score

_EPILOG = examples(
    "libmpc evaluate mnist --images digits.npy --labels labels.npy",
    "libmpc evaluate mnist --images digits.npy --labels labels.npy --confusion --json",
    "libmpc evaluate mnist --images digits.npy --labels labels.npy --cell 4,9 --cell 9,4",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "evaluate",
        epilog=_EPILOG,
        short_help="Count how often a model is right, so that nobody sees where.",
    )(evaluate)


def evaluate(
    name: NameArgument,
    images: Annotated[
        Path,
        typer.Option(
            "--images",
            metavar="IN",
            help="A .npy or .npz file with one array; the first axis counts samples.",
        ),
    ],
    labels: Annotated[
        Path,
        typer.Option(
            "--labels", metavar="LABELS", help="Such a file with a whole number for each sample."
        ),
    ],
    confusion: Annotated[
        bool,
        typer.Option(
            "--confusion",
            help="Ask for the whole matrix: how often each label was answered with each index.",
        ),
    ] = False,
    cells: Annotated[
        list[str] | None,
        typer.Option(
            "--cell",
            metavar="LABEL,INDEX",
            help="Ask for this cell of the matrix only; say it again for more.",
        ),
    ] = None,
    batch_size: BatchSizeOption = None,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count how many samples a model classifies as labelled, so that nobody sees which.

    Images and labels are checked and split into shares on this machine, and each share is sealed
    for one party. The parties find the index of the largest logit and compare it with the label on
    shares. They keep the sums as shares until the last part has come; only then, and only for you,
    the count leaves. It is exactly what 'libmpc reference' and numpy's argmax would give.

    Four parts are under way at a time; each has --timeout for itself, and is sent again where it
    is lost. The whole counts as one request where the model's requests are limited.
    """
    from libmpc.cli.arrays import read_array
    from libmpc.client import Client

    path = required(deployment)
    if confusion and cells:
        raise UsageError("give --confusion or --cell, not both")
    chosen = [_cell(text) for text in cells] if cells else None
    x, y = read_array(images), read_array(labels)
    begin = time.monotonic()
    with Progress(f"evaluating {name}") as progress, Client(path, timeout=timeout) as client:
        score = client.evaluate(
            name,
            x,
            y,
            confusion=confusion,
            cells=chosen,
            batch_size=batch_size,
            progress=progress.update,
        )
    seconds = time.monotonic() - begin
    document = {
        "name": name,
        "samples": score.samples,
        "correct": score.correct,
        "accuracy": score.accuracy,
        "confusion": _matrix(score),
        "seconds": round(seconds, 6),
    }
    result(document, "" if as_json else _text(score, chosen, seconds), as_json)


def _cell(text: str) -> tuple[int, int]:
    label, _, index = text.partition(",")
    if not (label.isascii() and label.isdecimal() and index.isascii() and index.isdecimal()):
        raise UsageError("--cell takes a label and an index, such as 4,9")
    return int(label), int(index)


def _matrix(score: Score) -> list[list[int | None]] | None:
    """Rows; ``None`` for a cell that was not asked for."""
    if score.confusion is None:
        return None
    rows: list[list[Any]] = score.confusion.tolist()
    return [[None if cell < 0 else cell for cell in row] for row in rows]


def _text(score: Score, cells: list[tuple[int, int]] | None, seconds: float) -> str:
    from libmpc.cli.tables import Column, table

    samples = count(score.samples, "sample")
    if score.accuracy is None:
        lines = [f"{samples} evaluated ({seconds:.3g} s)"]
    else:
        share = f"{100 * score.accuracy:.2f} %"
        text = f"{score.correct:,} of {samples} are classified as labelled: {share}"
        lines = [f"{text} ({seconds:.3g} s)"]
    matrix = score.confusion
    if matrix is not None and cells is not None:
        lines += [f"label {a} answered with {b}: {matrix[a, b]:,}" for a, b in sorted(set(cells))]
    elif matrix is not None:
        columns = [Column("LABEL", right=True)]
        columns += [Column(str(index), right=True) for index in range(len(matrix))]
        rows = [
            (str(label), *(f"{cell:,}" if cell else "" for cell in row))
            for label, row in enumerate(matrix)
        ]
        lines += ["", table(columns, rows)]
    return "\n".join(lines)
