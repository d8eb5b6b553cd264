"""From the steps that were made to the plan."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from pydantic import ValidationError

from libmpc.graph.lowering.emit import Emitter, plan_error
from libmpc.graph.lowering.lowered import Lowered
from libmpc.graph.lowering.prune import needed, rewired
from libmpc.graph.lowering.stack import stack
from libmpc.graph.nodes import FinalActivation, Shape
from libmpc.graph.plan import OutputStep, Plan, Step


def finish(
    emitter: Emitter,
    output: int,
    shape: Shape,
    final: FinalActivation | None,
    axis: int,
    layers: Collection[str],
) -> Lowered:
    """The plan of the steps that the output needs, taken together and numbered anew.

    ``layers`` are the names of the network's nodes.

    Raises:
        ModelError: it is beyond what a plan may have.
    """
    emitter.put(OutputStep(source=output, shape=shape), "the output")
    kept = needed(emitter.steps)
    index = {old: new for new, old in enumerate(kept)}
    steps: list[Step] = [rewired(emitter.steps[old], index) for old in kept]
    made = stack(steps)
    try:
        plan = Plan(steps=tuple(made.steps))
    except ValidationError as error:
        raise plan_error(error) from None
    weights = {
        made.index[index[old]]: pair for old, pair in emitter.weights.items() if old in index
    }
    names = tuple(
        _label((emitter.names[kept[origin]] for origin in origins), layers)
        for origins in made.origins
    )
    return Lowered(plan, weights, names, final, axis)


def _label(names: Iterable[str], layers: Collection[str]) -> str:
    """The layers of a step, each once; an importer numbers the nodes of one layer."""
    found: dict[str, None] = {}
    for name in names:
        for part in name.split(" + "):
            whole = re.sub(r"( \(moved\))?(:\d+)?$", "", part)
            found[whole if whole in layers else part] = None
    return " + ".join(found)
