"""``libmpc reference``."""

from __future__ import annotations

import typer

from libmpc.cli.options import (
    ArrayOption,
    CalibrationOption,
    InputArgument,
    JsonOption,
    ModelArgument,
    OutOption,
    ProofTimeOption,
    RangeOption,
    RequireProofOption,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import count, examples, result

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
    input_range: RangeOption = None,
    array: ArrayOption = None,
    calibration: CalibrationOption = None,
    require_proof: RequireProofOption = False,
    proof_time: ProofTimeOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Compute what a query must return, to the bit, from the model itself and without any shares.

    For the model's owner: to compare. The range decides only whether the model is accepted, as by
    'push', and changes no result.
    """
    from libmpc.cli.arrays import check_output, range_of, read_array, write_array
    from libmpc.graph.model import load_model

    check_output(out)
    x = read_array(inputs, array)
    typical = None if calibration is None else read_array(calibration)
    with Progress(f"computing {model.name}") as progress:
        loaded = load_model(
            model,
            input_range or range_of(x, typical),
            calibration=typical,
            require_proof=require_proof,
            time_limit=proof_time,
            progress=progress.stage,
        )
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
