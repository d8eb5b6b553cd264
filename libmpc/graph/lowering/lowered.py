"""What lowering makes of a network."""

from __future__ import annotations

from dataclasses import dataclass, field

from libmpc.graph.nodes import FinalActivation, Floats
from libmpc.graph.plan import Plan


@dataclass(frozen=True, eq=False)
class Lowered:
    """A plan with the float64 constants of its linear steps, and where its steps came from.

    Attributes:
        plan: the public steps.
        weights: by step index: W (the step's ``weight_shape``; empty where that is ``None``) and b
            (its ``bias_shape``).
        names: for each step, the layers that it does; for messages to the owner only.
        final: what the client is left to do with the logits.
        final_axis: along which axis of the output, counted from the end (-1 is the last).
    """

    plan: Plan
    weights: dict[int, tuple[Floats, Floats]] = field(repr=False)
    names: tuple[str, ...]
    final: FinalActivation | None = None
    final_axis: int = -1
