"""``libmpc push``."""

from __future__ import annotations

from typing import Annotated

import typer

from libmpc.cli.options import (
    CalibrationOption,
    DeploymentOption,
    JsonOption,
    LimitOption,
    ModelArgument,
    ProofTimeOption,
    RequireProofOption,
    TimeoutOption,
    UsageError,
    required,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import examples, result

_EPILOG = examples(
    "libmpc push short-conv-mnist.h5 --name mnist --input-range 0 1 --serve",
    "libmpc push retrained.keras --name mnist --input-range 0 1 --replace --serve",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push", epilog=_EPILOG, short_help="Share a model among the three parties.")(push)


def push(
    model: ModelArgument,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What clients call it.")],
    input_range: Annotated[
        tuple[float, float],
        typer.Option(metavar="LO HI", help="Least and largest value that inputs will have."),
    ],
    serve: Annotated[bool, typer.Option("--serve", help="Answer queries at once.")] = False,
    num_requests: LimitOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take over a name that is in use.")
    ] = False,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            metavar="KIND",
            help="The most that answers may tell: logits, label, topk:K, scores:BITS,"
            " scores:BITS:LOW:HIGH, confusion or count; confusion:N and count:N over N samples or"
            " more.",
        ),
    ] = "logits",
    require_proof: RequireProofOption = False,
    calibration: CalibrationOption = None,
    proof_time: ProofTimeOption = 60.0,
    timeout: TimeoutOption = 900.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Share a model's weights among the three parties, under fresh masks.

    No party can read a weight. Returns when all three have stored their shares durably. Neither
    Keras nor TensorFlow is needed.
    """
    from libmpc.cli.arrays import read_array
    from libmpc.cluster.remote import Cluster
    from libmpc.graph.model import load_model

    path = required(deployment)
    if num_requests is not None and not serve:
        raise UsageError("--num-requests needs --serve")
    samples = None if calibration is None else read_array(calibration)
    with Cluster.from_file(path) as cluster, Progress(f"pushing {name}") as progress:
        loaded = load_model(
            model,
            input_range,
            name=name,
            require_proof=require_proof,
            calibration=samples,
            time_limit=proof_time,
            progress=progress.stage,
        )
        served = cluster.share(
            loaded,
            name,
            replace=replace,
            serve=serve,
            num_requests=num_requests,
            output=output,
            timeout=timeout,
            progress=progress.update,
        )
    document = {
        "name": name,
        "model": served.model,
        "serving": serve,
        "num_requests": num_requests,
        "output": output,
        "input_shape": list(loaded.input_shape),
        "output_shape": list(loaded.output_shape),
        "range": loaded.range.status,
        "range_margin": loaded.range.margin,
    }
    result(document, _text(name, serve, num_requests, loaded.range.status), as_json)


def _text(name: str, serve: bool, num_requests: int | None, status: str) -> str:
    stored = f"{name} is stored at all three parties (range {status})"
    if not serve:
        return f"{stored}; answer queries with: libmpc serve {name}"
    limit = "" if num_requests is None else f", {num_requests} requests"
    return f"{stored} and served{limit}"
