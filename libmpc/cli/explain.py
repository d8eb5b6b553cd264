"""``libmpc explain``: what a model costs and how long it takes, before anything is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from libmpc.cli.options import JsonOption, ModelArgument, UsageError
from libmpc.cli.progress import Progress
from libmpc.cli.texts import examples, result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libmpc.graph.plan import Plan

_EPILOG = examples(
    "libmpc explain short-conv-mnist.h5",
    "libmpc explain resnet50.onnx --batch 8 --json",
    "libmpc explain model.keras --network 35 500",
    "libmpc explain short-conv-mnist.h5 --output label",
)
_COUNTS = ("macs", "rounds", "online_bytes", "preprocessing_bytes")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "explain", epilog=_EPILOG, short_help="Show what the parties would do, and what it costs."
    )(explain)


def explain(
    model: ModelArgument,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=16384, help="Samples in one query.")
    ] = 1,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            metavar="KIND",
            help="What is asked for: logits, label, topk:K, scores:BITS, scores:BITS:LOW:HIGH, or,"
            " as in an evaluation, count or confusion.",
        ),
    ] = "logits",
    network: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--network",
            metavar="MS MBIT",
            help="One more network between the parties: milliseconds one way, megabits a second.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the plan of a model: every step that the parties would do, and what it costs.

    Multiplications are each evaluator's. A round is one message each way between the two
    evaluators; online bytes are what each of them sends to the other. Preprocessing bytes are the
    masks that party 2 sends to party 1 before the query. All are what a real run counts, without
    the connection's own frames. Nothing is shared, and no input is needed.

    Below it are estimates for several networks between the parties: how long one query takes and
    what its time goes to, and how many samples a second go through in batches of each size, with
    everything that they use up being prepared meanwhile. They are made from these counts and from
    constants that were measured on one machine, which --json prints, too. Expect a third more or
    less; your own way to the gateway comes on top.
    """
    from libmpc.cli.estimates import estimates
    from libmpc.graph.loading import read_file
    from libmpc.graph.lowering import lower
    from libmpc.graph.tail import with_output
    from libmpc.outputs import parse

    kind = parse(output).answer
    with Progress(f"reading {model.name}"):
        lowered = lower(read_file(model))
        plan = with_output(lowered.plan, kind)
        # What follows the last layer belongs to none.
        names = [*lowered.names[:-1], *[str(kind)] * (len(plan.steps) - len(lowered.names) + 1)]
        steps = describe(plan, lowered.names if plan is lowered.plan else names, batch)
        estimated = estimates(plan, batch, _checked(network))
    document = {
        "model": str(model),
        "plan": plan.digest.hex(),
        "batch": batch,
        "output": str(kind),
        "input_shape": list(plan.input_shape),
        "output_shape": list(plan.output_shape),
        "final_activation": lowered.final if plan is lowered.plan else None,
        "steps": steps,
        "totals": totals(steps),
        "estimates": estimated,
    }
    result(document, "" if as_json else _text(document), as_json)


def _checked(network: tuple[float, float] | None) -> tuple[float, float] | None:
    if network is not None and not (0 <= network[0] <= 1e5 and 0.001 <= network[1] <= 1e7):
        raise UsageError("--network takes 0 to 100,000 ms and 0.001 to 10,000,000 Mbit/s")
    return network


def describe(plan: Plan, names: Sequence[str], batch: int) -> list[dict[str, Any]]:
    """Every step of a plan with its declared cost for a batch.

    Args:
        names: for each step the layers that it does.
        batch: samples in one query.
    """
    from libmpc.graph.plan import ProductStep
    from libmpc.runtime.cost import step_costs

    costs = step_costs(plan, batch)
    steps = []
    for index, (step, name) in enumerate(zip(plan.steps, names, strict=True)):
        macs = step.size if isinstance(step, ProductStep) else getattr(step, "macs", 0)
        steps.append(
            {
                "index": index,
                "op": step.op,
                "layer": name,
                "reads": list(step.reads),
                "shape": list(step.output_shape),
                "macs": batch * macs,
                "rounds": costs[index].rounds,
                "online_bytes": costs[index].online_bytes,
                "preprocessing_bytes": costs[index].correction_bytes,
            }
        )
    return steps


def totals(steps: Sequence[dict[str, Any]]) -> dict[str, int]:
    """What all steps together cost."""
    return {count: sum(step[count] for step in steps) for count in _COUNTS}


def _text(document: dict[str, Any]) -> str:
    from libmpc.cli import estimates
    from libmpc.cli.tables import Column, table

    columns = (
        Column("STEP", right=True),
        Column("OP"),
        Column("LAYER", longest=40),
        Column("SHAPE"),
        Column("MACS", right=True),
        Column("ROUNDS", right=True),
        Column("ONLINE B", right=True),
        Column("PREPARED B", right=True),
    )
    rows = [
        (
            str(step["index"]),
            step["op"],
            step["layer"],
            "×".join(map(str, step["shape"])),
            *(f"{step[count]:,}" if step[count] else "" for count in _COUNTS),
        )
        for step in document["steps"]
    ]
    last = ("", "total", "", "", *(f"{document['totals'][count]:,}" for count in _COUNTS))
    final = document["final_activation"]
    after = f"; {final} is left to the client" if final else ""
    samples = "one sample" if document["batch"] == 1 else f"{document['batch']:,} samples"
    head = f"{document['model']}: {len(rows)} steps, for {samples}{after}"
    estimated = estimates.text(document["estimates"], document["batch"])
    return f"{head}\n{table(columns, rows, last)}\n\n{estimated}"
