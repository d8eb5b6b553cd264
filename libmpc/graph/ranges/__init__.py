"""Whether a model's values stay where the arithmetic is exact: proven, calibrated or refused."""

from libmpc.graph.ranges.analysis import (
    TIME_LIMIT,
    RangeProgress,
    RangeReport,
    RangeWarning,
    analyse,
)
from libmpc.graph.ranges.calibration import observe, random_inputs
from libmpc.graph.ranges.proof import Proof, prove
from libmpc.graph.ranges.span import SAFETY, Span, limits, margin

__all__ = [
    "SAFETY",
    "TIME_LIMIT",
    "Proof",
    "RangeProgress",
    "RangeReport",
    "RangeWarning",
    "Span",
    "analyse",
    "limits",
    "margin",
    "observe",
    "prove",
    "random_inputs",
]
