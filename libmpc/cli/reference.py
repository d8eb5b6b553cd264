"""``libmpc reference``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from libmpc.cli.options import ArrayOption, InputArgument, JsonOption, ModelArgument, OutOption
from libmpc.cli.progress import Progress
from libmpc.cli.texts import count, examples, result

if TYPE_CHECKING:
    from libmpc.cli.arrays import Array

_EPILOG = examples(
    "libmpc reference short-conv-mnist.h5 digits.npy --out expected.npy --input-range 0 1",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "reference", epilog=_EPILOG, short_help="Compute what a query must return, without shares."
    )(reference)


def reference(
    model: ModelArgument,
    inputs: InputArgument,
    out: OutOption,
    input_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LO HI",
            help="Least and largest input; by default those of IN. Changes no result.",
        ),
    ] = None,
    array: ArrayOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute what a query must return, to the bit, from the model itself and without any shares.

    For the model's owner: to compare, and to see what fixed point does to the answers.
    """
    from libmpc.cli.arrays import check_output, read_array, write_array
    from libmpc.graph.model import load_model

    check_output(out)
    x = read_array(inputs, array)
    with Progress(f"computing {model.name}"):
        loaded = load_model(model, input_range or _range_of(x))
        answer = loaded.reference(x)
    write_array(out, answer, "logits")
    document = {
        "model": str(model),
        "samples": len(answer),
        "output": "logits",
        "shape": list(answer.shape),
        "dtype": str(answer.dtype),
        "range": loaded.range.status,
        "out": str(out),
    }
    result(document, f"logits of {count(len(answer), 'sample')} in {out}", as_json)


def _range_of(x: Array) -> tuple[float, float]:
    import numpy as np

    if x.dtype.kind in "fiub" and x.size and np.isfinite(x).all():
        return float(x.min()), float(x.max())
    return 0.0, 1.0  # the array is going to be refused
