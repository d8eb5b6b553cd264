"""A model that is ready to be shared: its plan, its encoded weights and its range."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import ModelError
from libmpc.graph.encoding import BIAS_BITS, EncodedWeights, encode_weights
from libmpc.graph.folding import fold_graph
from libmpc.graph.keras import read_keras
from libmpc.graph.nodes import Graph
from libmpc.graph.plan import Plan
from libmpc.graph.ranges import RangeReport, analyse
from libmpc.graph.reference import run_reference
from libmpc.inputs import check_inputs, encoded_range

FinalActivation = Literal["softmax"]


@dataclass(frozen=True, eq=False)
class Model:
    """A network as its owner holds it: everything, weights included. Not for anybody else.

    Attributes:
        name: what to call it; by default the file's name.
        plan: the steps, which are public.
        weights: by linear step: W at scale 2^16, b at scale 2^32, modulo 2^48.
        input_range: the least and the largest input that it was checked for.
        range: whether values are proven to stay in range, or calibrated, and how far from it.
        step_names: for each step the layers that it does.
        final_activation: what is left to the client: ``"softmax"``, or nothing.
    """

    name: str
    plan: Plan
    weights: EncodedWeights = field(repr=False)
    input_range: tuple[float, float]
    range: RangeReport = field(repr=False)
    step_names: tuple[str, ...] = field(repr=False)
    final_activation: FinalActivation | None = None

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, input_shape={self.input_shape}, "
            f"output_shape={self.output_shape}, input_range={self.input_range}, "
            f"steps={len(self.plan.steps)}, range={self.range.status!r}, "
            f"final_activation={self.final_activation!r})"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One sample's shape."""
        return self.plan.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """One answer's shape."""
        return self.plan.output_shape

    def check_inputs(self, x: object) -> NDArray[np.uint64]:
        """Check and encode a batch as a client does; see ``libmpc.inputs.check_inputs``."""
        return check_inputs(x, shape=self.input_shape, input_range=self.input_range)

    def reference(self, x: object) -> NDArray[np.float64]:
        """The logits that a query must return, bit for bit, computed without shares.

        Args:
            x: (batch, *input_shape), real numbers in the declared range.

        Returns:
            (batch, *output_shape), before any softmax.

        Raises:
            InputError: ``x`` does not fit.
        """
        encoded = run_reference(self.plan, self.weights, self.check_inputs(x))
        return fixedpoint.decode(encoded, BIAS_BITS)


def load_model(
    path: str | os.PathLike[str],
    input_range: tuple[float, float],
    *,
    name: str | None = None,
    require_proof: bool = False,
    calibration: object = None,
) -> Model:
    """Read a Keras file (``.h5``, ``.keras``), fold it, encode it and check its range.

    Args:
        path: the file; neither Keras nor TensorFlow is needed, and nothing in it is executed.
        input_range: the least and the largest value that inputs will have, such as ``(0, 1)``.
        name: the model's name; by default the file's, without its ending.
        require_proof: refuse a model whose range is not proven.
        calibration: samples (batch, *input_shape) to calibrate on where no proof is found; by
            default random inputs in the range.

    Raises:
        ModelError: the file cannot be read, or has something that is not supported; names the
            layer.
        RangeError: values may leave the range in which the arithmetic is exact.
        InputError: the input range or the calibration samples make no sense.
    """
    stem = Path(os.fsdecode(path)).stem
    graph = read_keras(path)
    return _build(graph, input_range, stem if name is None else name, require_proof, calibration)


def build_model(
    graph: Graph,
    input_range: tuple[float, float],
    *,
    name: str = "model",
    require_proof: bool = False,
    calibration: object = None,
) -> Model:
    """Make a model from a network in memory; see ``load_model``."""
    return _build(graph, input_range, name, require_proof, calibration)


def _build(
    graph: Graph,
    input_range: tuple[float, float],
    name: str,
    require_proof: bool,
    calibration: object,
) -> Model:
    if not name:
        raise ModelError("the model's name must not be empty")
    bounds = encoded_range(input_range)
    declared = (float(input_range[0]), float(input_range[1]))
    folded = fold_graph(graph)
    weights = encode_weights(folded)
    samples = None
    if calibration is not None:
        samples = check_inputs(calibration, shape=folded.plan.input_shape, input_range=declared)
    report = analyse(
        folded.plan,
        folded.names,
        weights,
        bounds,
        require_proof=require_proof,
        calibration=samples,
    )
    return Model(
        name=name,
        plan=folded.plan,
        weights=weights,
        input_range=declared,
        range=report,
        step_names=folded.names,
        final_activation="softmax" if folded.softmax else None,
    )
