"""Whether a model's logits lie where another output is exact."""

from __future__ import annotations

from libmpc.errors import RangeError
from libmpc.graph.plan import OutputStep, Plan
from libmpc.graph.ranges.analysis import RangeReport
from libmpc.graph.ranges.span import Span
from libmpc.outputs import OutputKind

WIDEST = 2.0**47 - 1.0
"""Between the least and the largest logit, at scale 2^32, for all of them to be compared."""
LARGEST = 2.0**46
"""By size, for them to be rounded."""


def check_output(plan: Plan, report: RangeReport, kind: OutputKind) -> None:
    """Refuse an output that the proven or seen range of the logits is too wide for.

    A calibrated model always has room: its samples stay a factor of 16 below 2^47.

    Raises:
        RangeError: with the bound.
    """
    if kind.name == "logits":
        return  # that they fit was the condition for the model itself
    last = plan.steps[-1]
    assert isinstance(last, OutputStep)
    if not fits(report.spans[last.source], kind):
        raise RangeError(
            f"the logits are only known to lie in {report.spans[last.source]}; to be "
            f"{'rounded' if kind.name == 'scores' else 'compared'} they must lie within "
            f"{Span(-LARGEST, LARGEST)}. Narrow the input range, or scale the last layer down"
        )


def fits(span: Span, kind: OutputKind) -> bool:
    """Whether logits in this span, at scale 2^32, can be answered with that kind."""
    if kind.name == "scores":
        return max(-span.low, span.high) <= LARGEST
    return span.high - span.low <= WIDEST
