"""``libmpc query``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from libmpc.cli.options import (
    ArrayOption,
    BatchSizeOption,
    DeploymentOption,
    InputArgument,
    JsonOption,
    NameArgument,
    OutOption,
    TimeoutOption,
    required,
)
from libmpc.cli.progress import Progress
from libmpc.cli.texts import count, examples, result

_EPILOG = examples(
    "libmpc query mnist digits.npy --out logits.npy",
    "libmpc query mnist digits.npy --out probabilities.npy --final --timeout 60",
    "libmpc query mnist digits.npy --out labels.npy --output label",
    "libmpc query mnist digits.npy --out logits.npy --batch-size 1024",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "query", epilog=_EPILOG, short_help="Ask a model, so that only you see input and answer."
    )(query)


def query(
    name: NameArgument,
    inputs: InputArgument,
    out: OutOption,
    final: Annotated[
        bool,
        typer.Option(
            "--final",
            help="Write what the model's last activation (softmax, sigmoid, argmax) makes of the"
            " logits; computed here.",
        ),
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            metavar="KIND",
            help="What to ask for: logits, label, topk:K, scores:BITS or scores:BITS:LOW:HIGH; by"
            " default all that the model's owner allows.",
        ),
    ] = None,
    array: ArrayOption = None,
    batch_size: BatchSizeOption = None,
    timeout: TimeoutOption = 30.0,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a model, so that only you see input and answer.

    The array is checked and split into shares on this machine, and each share is sealed for one
    party. What is written are float64 logits, the same bits as 'libmpc reference' computes from
    the model itself, or, with --output label, int64 indices computed on shares. More samples than
    fit into one batch are asked for in several, four at a time. Each batch is one request, counts
    as one where the model's requests are limited, and has --timeout for itself. If one fails,
    nothing is written, and the message says which samples.
    """
    from libmpc.cli.arrays import check_output, read_array, write_array
    from libmpc.client import Client
    from libmpc.client.final import describe_output

    path = required(deployment)
    check_output(out)
    x = read_array(inputs, array)
    begin = time.monotonic()
    with Progress(f"asking {name}") as progress, Client(path, timeout=timeout) as client:
        answer = client.query_many(
            name,
            x,
            final=final,
            output=output,
            batch_size=batch_size,
            progress=progress.update,
        )
        seconds = time.monotonic() - begin
        descriptor = client.describe(name)
        what = describe_output(descriptor) if final else output or descriptor.output
    write_array(out, answer, what)
    document = {
        "name": name,
        "samples": len(answer),
        "output": what,
        "shape": list(answer.shape),
        "dtype": str(answer.dtype),
        "seconds": round(seconds, 6),
        "out": str(out),
    }
    text = f"{what} of {count(len(answer), 'sample')} in {out} ({seconds:.3g} s)"
    result(document, text, as_json)
