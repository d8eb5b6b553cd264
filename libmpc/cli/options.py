"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from libmpc.errors import LibmpcError


class UsageError(LibmpcError):
    """The command line asks for something that makes no sense."""


DeploymentOption = Annotated[
    Path | None,
    typer.Option(
        "--deployment",
        envvar="LIBMPC_DEPLOYMENT",
        metavar="PATH",
        help="The deployment file, or its directory.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        metavar="N",
        min=1,
        max=16384,
        help="Samples in one request. By default 128, or fewer where samples are large.",
    ),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Give up after this time.")
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
ModelArgument = Annotated[
    Path,
    typer.Argument(metavar="MODEL", help="A Keras file (.h5, .keras) or an ONNX file (.onnx)."),
]
InputArgument = Annotated[
    Path, typer.Argument(metavar="IN", help="A .npy or .npz file; the first axis counts samples.")
]
OutOption = Annotated[
    Path, typer.Option("--out", metavar="OUT", help="Where to write float64 results: .npy or .npz.")
]
ArrayOption = Annotated[
    str | None,
    typer.Option("--array", metavar="NAME", help="Which array of an .npz file that has several."),
]
RangeOption = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--input-range",
        metavar="LO HI",
        help="Least and largest value that inputs will have; by default those of the samples.",
    ),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="SAMPLES",
        help="Typical inputs (.npy, .npz) to calibrate the range on, where it is not proven.",
    ),
]
RequireProofOption = Annotated[
    bool,
    typer.Option(
        "--require-proof", help="Refuse a model whose range is only calibrated, not proven."
    ),
]
ProofTimeOption = Annotated[
    float,
    typer.Option(
        "--proof-time", metavar="SECONDS", min=0.0, help="Time to look for a proof of the range."
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option("--num-requests", metavar="K", min=1, help="Answer K requests, then no more."),
]


def required(deployment: Path | None) -> Path:
    """The deployment that a client command is for.

    Raises:
        UsageError: none was given.
    """
    if deployment is None or deployment == Path():
        raise UsageError(
            "which deployment? Give --deployment PATH or set LIBMPC_DEPLOYMENT; 'libmpc up --dir "
            "run' makes run/deployment.yaml"
        )
    return deployment
