"""A network in fixed point against the same network in float64, on samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import RangeError
from libmpc.graph.encoding import BIAS_BITS, encode_weights
from libmpc.graph.floating import run_float
from libmpc.graph.lowering import lower
from libmpc.graph.nodes import Graph
from libmpc.graph.ranges import (
    TIME_LIMIT,
    RangeProgress,
    RangeReport,
    Span,
    analyse,
    limits,
    margin,
    observe,
)
from libmpc.graph.reference import run_reference
from libmpc.inputs import check_inputs, encoded_range

_PART = 16  # samples between two reports of progress


@dataclass(frozen=True)
class Layer:
    """The values of one step that have limits, on the samples.

    Attributes:
        index: of the step in the plan.
        name: the layers that the step does.
        span: the least and the largest value seen.
        limit: where values must stay.
        used: what part of the way to the limit they go; beyond 1 the answers are wrong.
    """

    index: int
    name: str
    span: Span
    limit: Span
    used: float


@dataclass(frozen=True)
class Comparison:
    """How far fixed point is from float64; for the owner, since it shows bounds of layers.

    Attributes:
        samples: how many were run.
        max_error: largest difference of any two outputs, before any final activation.
        mean_error: the mean of all differences' sizes.
        largest: the largest float64 output, by size.
        agreement: for what part of the answers both have the same largest output; ``None`` where
            there is only one.
        layers: range used, in the order of the plan.
        range: what ``push`` would say about the range, or ``None`` where it would refuse the model.
        refusal: why it would.
    """

    samples: int
    max_error: float
    mean_error: float
    largest: float
    agreement: float | None
    layers: tuple[Layer, ...]
    range: RangeReport | None
    refusal: str | None


def compare(
    graph: Graph,
    x: object,
    input_range: tuple[float, float],
    *,
    calibration: object = None,
    require_proof: bool = False,
    time_limit: float = TIME_LIMIT,
    progress: RangeProgress | None = None,
) -> Comparison:
    """Run a network both ways on samples.

    Args:
        graph: the network.
        x: (batch, *input_shape), real numbers in ``input_range``.
        input_range: the least and the largest value that inputs will have.
        calibration: samples for the range analysis, where no proof is found; by default ``x``.
        require_proof: refuse a range that is not proven.
        time_limit: seconds for a proof.
        progress: called with what is being done, how much of it, and of how much.

    Raises:
        ModelError: the network has something that is not supported.
        RangeError: a weight does not fit its encoding.
        InputError: samples or the range make no sense.
    """
    lowered = lower(graph)
    plan, weights = lowered.plan, encode_weights(lowered)
    samples = check_inputs(x, shape=plan.input_shape, input_range=input_range)
    typical = samples
    if calibration is not None:
        typical = check_inputs(calibration, shape=plan.input_shape, input_range=input_range)

    def tell(stage: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(stage, done, total) if progress else None

    report, refusal = None, None
    try:
        report = analyse(
            plan,
            lowered.names,
            weights,
            encoded_range(input_range),
            require_proof=require_proof,
            calibration=typical,
            time_limit=time_limit,
            progress=progress,
        )
    except RangeError as error:
        refusal = str(error)
    if report is not None and report.status == "calibrated" and typical is samples:
        seen = report.spans
    else:
        seen = observe(plan, weights, samples, tell("watching ranges"))
    bounds = limits(plan)
    layers = tuple(
        Layer(index, lowered.names[index], span, bounds[index], 1.0 / margin(span, bounds[index]))
        for index, span in seen.items()
    )
    real = np.asarray(x, np.float64)
    fixed, floating = [], []
    for start in range(0, len(samples), _PART):
        part = slice(start, start + _PART)
        fixed.append(fixedpoint.decode(run_reference(plan, weights, samples[part]), BIAS_BITS))
        floating.append(run_float(graph, real[part]))
        tell("comparing")(min(start + _PART, len(samples)), len(samples))
    answers, truth = np.concatenate(fixed), np.concatenate(floating).reshape(len(samples), -1)
    errors = np.abs(answers.reshape(truth.shape) - truth)
    axis = lowered.final_axis
    return Comparison(
        samples=len(samples),
        max_error=float(errors.max()),
        mean_error=float(errors.mean()),
        largest=float(np.abs(truth).max()),
        agreement=_agreement(answers, truth.reshape(answers.shape), axis),
        layers=layers,
        range=report,
        refusal=refusal,
    )


def _agreement(one: NDArray[np.float64], other: NDArray[np.float64], axis: int) -> float | None:
    if one.shape[axis] < 2:
        return None
    return float(np.mean(one.argmax(axis=axis) == other.argmax(axis=axis)))
