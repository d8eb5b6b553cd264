"""``libmpc check``: what fixed point does to a model's answers, before anything is shared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.options import (
    ArrayOption,
    CalibrationOption,
    InputArgument,
    JsonOption,
    ModelArgument,
    ProofTimeOption,
    RangeOption,
    RequireProofOption,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import count, examples, result

if TYPE_CHECKING:
    from libmpc.graph.comparison import Comparison

_EPILOG = examples(
    "libmpc check short-conv-mnist.h5 digits.npy --input-range 0 1",
    "libmpc check resnet50.onnx images.npy --input-range -3 3 --limit 4",
    "libmpc check model.keras test.npz --array images --calibration train.npy --json",
)
_BAR = 24  # characters of a full bar
_BITS = 24  # what an empty one stands for: 2^-24 of the limit


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", epilog=_EPILOG, short_help="Compare a model in fixed point with float64.")(
        check
    )


def check(
    model: ModelArgument,
    inputs: InputArgument,
    input_range: RangeOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="The first N samples only.")
    ] = None,
    array: ArrayOption = None,
    calibration: CalibrationOption = None,
    require_proof: RequireProofOption = False,
    proof_time: ProofTimeOption = 60.0,
    as_json: JsonOption = False,
) -> None:
    """Compare a model in fixed point, as the parties compute it, with the same model in float64.

    Shows the largest and the mean error of the outputs (before softmax and the like), for how many
    samples the largest output is the same, and how much of the range that fixed point has every
    layer uses; bars are logarithmic, an empty one is 2^-24 of the limit. Says what 'push' would
    say about the range, with IN as calibration samples unless others are given. Nothing is shared.
    Ends with exit code 1 if 'push' would refuse the model.
    """
    from libmpc.cli.arrays import range_of, read_array
    from libmpc.graph.comparison import compare
    from libmpc.graph.loading import read_file

    x = read_array(inputs, array)
    samples = x if limit is None or x.ndim == 0 else x[:limit]
    typical = None if calibration is None else read_array(calibration)
    with Progress(f"checking {model.name}") as progress:
        found = compare(
            read_file(model),
            samples,
            input_range or range_of(samples, typical),
            calibration=typical,
            require_proof=require_proof,
            time_limit=proof_time,
            progress=progress.stage,
        )
    document = {"model": str(model), **_document(found)}
    result(document, "" if as_json else _text(model.name, found), as_json)
    if found.refusal is not None:
        raise typer.Exit(1)


def _document(found: Comparison) -> dict[str, Any]:
    status = found.range.status if found.range is not None else "refused"
    return {
        "samples": found.samples,
        "max_error": found.max_error,
        "mean_error": found.mean_error,
        "largest_output": found.largest,
        "argmax_agreement": found.agreement,
        "range": status,
        "range_margin": found.range.margin if found.range is not None else None,
        "refusal": found.refusal,
        "layers": [
            {
                "index": layer.index,
                "layer": layer.name,
                "low": layer.span.low / 2.0**layer.span.bits,
                "high": layer.span.high / 2.0**layer.span.bits,
                "limit_low": layer.limit.low / 2.0**layer.limit.bits,
                "limit_high": layer.limit.high / 2.0**layer.limit.bits,
                "used": layer.used,
            }
            for layer in found.layers
        ],
    }


def _text(name: str, found: Comparison) -> str:
    from libmpc.cli.tables import Column, table

    columns = (
        Column("LAYER", longest=40),
        Column("LEAST", right=True),
        Column("LARGEST", right=True),
        Column("LIMIT", right=True),
        Column("USED", right=True),
        Column("OF THE RANGE"),
    )
    rows = [
        (
            layer.name,
            *(f"{end / 2.0**layer.span.bits:.5g}" for end in (layer.span.low, layer.span.high)),
            f"±{layer.limit.high / 2.0**layer.limit.bits:.5g}",
            f"{layer.used:.2g}" if layer.used < 0.001 else f"{layer.used:.1%}",
            bar(layer.used),
        )
        for layer in found.layers
    ]
    agreement = ""
    if found.agreement is not None:
        agreement = f"\nlargest output: the same in {found.agreement:.2%} of the answers"
    return (
        f"{name}: {count(found.samples, 'sample')} in fixed point and in float64\n"
        f"errors: {found.max_error:.3g} at most, {found.mean_error:.3g} in the mean; outputs are "
        f"up to {found.largest:.5g}{agreement}\n{_range(found)}\n\n{table(columns, rows)}"
    )


def _range(found: Comparison) -> str:
    if found.range is None:
        return f"range: refused: {found.refusal}"
    if found.range.status == "proven":
        return (
            "range: proven for every input in the declared range, a factor of "
            f"{found.range.margin:.3g} below the limit"
        )
    return (
        f"range: calibrated on {count(found.range.samples, 'sample')}, a factor of "
        f"{found.range.margin:.3g} below the limit, not proven"
    )


def bar(used: float) -> str:
    """How much of the range is used, on a logarithmic scale: full at the limit."""
    if used <= 0:
        return "·" * _BAR
    eighths = round(8 * _BAR * min(1.0, max(0.0, 1 + math.log2(used) / _BITS)))
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return drawn + "·" * (_BAR - len(drawn)) + ("!" if used > 1 else "")
