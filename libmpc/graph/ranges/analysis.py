"""Prove a model's range, or else calibrate it on samples, or else refuse it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from libmpc.errors import RangeError
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.plan import Plan
from libmpc.graph.ranges.calibration import observe, random_inputs
from libmpc.graph.ranges.proof import Proof, prove
from libmpc.graph.ranges.span import SAFETY, Span, limits, margin

TIME_LIMIT = 60.0  # seconds for a proof

RangeProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done (``"proving"``, ``"calibrating"``), and how much of how much."""

_ADVICE = (
    "narrow the input range (scale the inputs), scale this layer's weights down, or train with "
    "weight decay or normalisation"
)
_WHY = {
    "bounds": "bounds by intervals and by linear relaxation are too loose",
    "time": "the proof ran out of time",
    "memory": "the model is too large for more than interval bounds",
}


class RangeWarning(UserWarning):
    """A model's range could not be proven, only calibrated on samples."""


@dataclass(frozen=True)
class RangeReport:
    """How far values are from the limits within which the arithmetic is exact.

    For the owner: bounds depend on the weights, and only ``status`` and ``margin`` are for others.

    Attributes:
        status: ``proven`` for every input in the range, or ``calibrated`` on samples.
        margin: by what factor the values could grow before the first reaches its limit: as
            proven, or as seen on the samples.
        samples: how many were run; 0 where the range is proven.
        spans: the proven or the seen span, by step, of all values that have limits.
    """

    status: Literal["proven", "calibrated"]
    margin: float
    samples: int
    spans: dict[int, Span]


def analyse(
    plan: Plan,
    names: tuple[str, ...],
    weights: EncodedWeights,
    input_range: tuple[int, int],
    *,
    require_proof: bool = False,
    calibration: NDArray[np.uint64] | None = None,
    progress: RangeProgress | None = None,
    time_limit: float = TIME_LIMIT,
) -> RangeReport:
    """Prove the range, by intervals and by linear relaxation, or else calibrate it on samples.

    Args:
        plan: the steps.
        names: each step's layers, for messages.
        weights: the encoded weights.
        input_range: least and largest input at scale 2^16.
        require_proof: refuse what is not proven.
        calibration: encoded samples (batch, *input_shape); otherwise random inputs and corners of
            the declared range, always the same ones.
        progress: called as it goes on.
        time_limit: seconds that linear relaxation may take; intervals are always tried.

    Raises:
        RangeError: a sample comes within a factor of 16 of a limit, or a proof was asked for
            and not found; has the layer, the bound and what to do.
    """

    def tell(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total) if progress else None

    proof = prove(plan, weights, input_range, time_limit=time_limit, progress=tell("proving"))
    if proof.failed is None:
        return RangeReport("proven", proof.margin, 0, proof.spans)
    if require_proof:
        raise _unproven(plan, names, proof, time_limit)
    samples = random_inputs(plan, input_range) if calibration is None else calibration
    seen = observe(plan, weights, samples, tell("calibrating"))
    bounds = limits(plan)
    margins = {index: margin(span, bounds[index]) for index, span in seen.items()}
    close = next((index for index, factor in margins.items() if factor < SAFETY), None)
    if close is not None:
        raise _too_large(plan, names, close, seen[close], calibration is not None)
    index = min(margins, key=margins.__getitem__)
    report = RangeReport("calibrated", margins[index], len(samples), seen)
    warnings.warn(
        f"the range of layer {names[proof.failed]!r} is not proven, only calibrated: on "
        f"{len(samples)} {'given' if calibration is not None else 'random'} samples the model's "
        f"largest value, in layer {names[index]!r}, is a factor of {report.margin:.3g} below the "
        "limit. An unusual input could be answered wrongly",
        RangeWarning,
        stacklevel=_callers_level(),
    )
    return report


def _callers_level() -> int:
    """Of the function that asked for a model, as ``warnings.warn`` counts in ``analyse``."""
    level, frame = 1, sys._getframe(1)
    package = __name__.rpartition(".ranges")[0]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(package):
        level, frame = level + 1, frame.f_back
    return level


def _unproven(plan: Plan, names: tuple[str, ...], proof: Proof, time_limit: float) -> RangeError:
    assert proof.failed is not None
    more = f"; allow more than {time_limit:g} s" if proof.why == "time" else ""
    return RangeError(
        f"layer {names[proof.failed]!r}: the range is not proven ({_WHY[proof.why]}). For inputs "
        f"in the declared range its values are only known to lie in {proof.spans[proof.failed]}, "
        f"and must lie in {limits(plan)[proof.failed]}; {_ADVICE}{more}; or do without the proof"
    )


def _too_large(
    plan: Plan, names: tuple[str, ...], index: int, span: Span, given: bool
) -> RangeError:
    limit = limits(plan)[index]
    safe = Span(limit.low / SAFETY, limit.high / SAFETY, limit.bits)
    which = "the given" if given else "random"
    other = "" if given else "; or give typical inputs as calibration samples"
    return RangeError(
        f"layer {names[index]!r}: its values reach {span} on {which} samples, and must stay a "
        f"factor of {SAFETY:g} below the limit, within {safe}; {_ADVICE}{other}"
    )
