"""Whether a model's values stay where the arithmetic is exact: proven, calibrated or refused."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import RangeError
from libmpc.graph import floats
from libmpc.graph.encoding import EncodedWeights
from libmpc.graph.intervals import Span, inside, interval_bounds, limits
from libmpc.graph.plan import ConvStep, DenseStep, InputStep, OutputStep, Plan, ReluStep

SAFETY = 16.0  # how far below the limit samples must stay
_LIMIT = 2.0**47
_CHUNK = 1 << 22
_WORK = 1 << 32  # multiplications on random samples, at most: some seconds

_ADVICE = (
    "narrow the input range (scale the inputs), scale this layer's weights down, or train with "
    "weight decay or normalisation"
)


class RangeWarning(UserWarning):
    """A model's range could not be proven, only calibrated on samples."""


@dataclass(frozen=True)
class RangeReport:
    """How far the values of every linear step are from the limit.

    For the owner: bounds depend on the weights, and only ``status`` and ``margin`` are for others.

    Attributes:
        status: ``proven`` for every input in the range, or ``calibrated`` on samples.
        margin: limit over the largest value: proven, or seen on the samples.
        samples: how many were run; 0 where the range is proven.
        spans: by linear step, the proven or the seen span.
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
) -> RangeReport:
    """Prove the range by intervals, or else calibrate it on samples.

    Args:
        plan: the steps.
        names: each step's layers, for messages.
        weights: the encoded weights.
        input_range: least and largest input at scale 2^16.
        require_proof: refuse what is not proven.
        calibration: encoded samples (batch, *input_shape); otherwise random inputs and corners of
            the declared range, always the same ones.

    Raises:
        RangeError: a sample comes within a factor of 16 of the limit, or a proof was asked for
            and not found; has the layer, the bound and what to do.
    """
    proven = interval_bounds(plan, weights, input_range)
    failed = next((i for i, span in proven.items() if not inside(span, limits(plan, i))), None)
    if failed is None:
        return RangeReport("proven", _margin(proven), 0, proven)
    if require_proof:
        raise RangeError(
            f"layer {names[failed]!r}: the range is not proven. For inputs in the declared range "
            f"its values are only known to lie in {proven[failed]}, and must lie in "
            f"{limits(plan, failed)}; {_ADVICE}; or do without the proof"
        )
    samples = random_inputs(plan, input_range) if calibration is None else calibration
    seen = observe(plan, weights, samples)
    for index, span in seen.items():
        if span.reach * SAFETY > _LIMIT / 2.0**32:
            raise RangeError(
                f"layer {names[index]!r}: its values reach {span} on samples, and must stay a "
                f"factor of {SAFETY:g} below the limit, within ±{_LIMIT / SAFETY / 2.0**32:g}; "
                f"{_ADVICE}"
            )
    report = RangeReport("calibrated", _margin(seen), len(samples), seen)
    warnings.warn(
        f"the range of layer {names[failed]!r} is not proven, only calibrated: the model's largest "
        f"value on {len(samples)} samples is a factor of {report.margin:.3g} below the limit. An "
        "unusual input could be answered wrongly",
        RangeWarning,
        stacklevel=4,
    )
    return report


def random_inputs(plan: Plan, input_range: tuple[int, int]) -> NDArray[np.uint64]:
    """Samples of the declared range: both ends, random corners, and random points (encoded)."""
    low, high = input_range
    macs = sum(step.macs for step in plan.linear_steps.values())
    count = max(8, min(128, _WORK // max(macs, 1), 8 * _CHUNK // plan.steps[0].size))
    rng = np.random.default_rng(0)
    shape = (count, *plan.input_shape)
    ends = np.stack([np.full(plan.input_shape, low), np.full(plan.input_shape, high)])
    corners = np.where(rng.integers(0, 2, shape), high, low)
    points = rng.integers(low, high, shape, endpoint=True)
    return np.concatenate([ends, corners, points]).astype(np.int64).view(np.uint64)


def observe(plan: Plan, weights: EncodedWeights, samples: NDArray[np.uint64]) -> dict[int, Span]:
    """The least and largest value of every linear step on samples, as if nothing ever wrapped."""
    matrices = {
        i: tuple(fixedpoint.to_signed(a).astype(np.float64) for a in pair)
        for i, pair in weights.items()
    }
    chunk = max(1, _CHUNK // max(step.size for step in plan.steps))
    seen: dict[int, Span] = {}
    for start in range(0, len(samples), chunk):
        x = fixedpoint.to_signed(samples[start : start + chunk]).astype(np.float64)
        for index, step in enumerate(plan.steps):
            if isinstance(step, (DenseStep, ConvStep)):
                w, b = matrices[index]
                x = floats.multiply(step, w, x) + b
                span = seen.get(index, Span(np.inf, -np.inf))
                seen[index] = Span(min(span.low, float(x.min())), max(span.high, float(x.max())))
            elif isinstance(step, ReluStep):
                x = np.maximum(np.floor(x / 65536.0), 0.0)
            elif not isinstance(step, (InputStep, OutputStep)):
                x = floats.pool(step.window, x)
    return seen


def _margin(spans: dict[int, Span]) -> float:
    reach = max(span.reach for span in spans.values())
    return _LIMIT / 2.0**32 / reach if reach else float("inf")
