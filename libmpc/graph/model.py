"""A model that is ready to be shared: its plan, its encoded weights and its range."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from libmpc import fixedpoint
from libmpc.errors import ModelError
from libmpc.graph.encoding import BIAS_BITS, EncodedWeights, encode_weights
from libmpc.graph.loading import around, read_file, read_module
from libmpc.graph.lowering import lower
from libmpc.graph.nodes import FinalActivation, Graph
from libmpc.graph.plan import Plan
from libmpc.graph.ranges import TIME_LIMIT, RangeProgress, RangeReport, analyse
from libmpc.graph.reference import run_reference
from libmpc.inputs import check_inputs, encoded_range

PathLike: TypeAlias = str | os.PathLike[str]


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
        final_activation: what is left to the client: ``"softmax"``, ``"log_softmax"``,
            ``"sigmoid"``, ``"argmax"`` or nothing.
        final_axis: along which axis of an answer, counted from the end.
    """

    name: str
    plan: Plan
    weights: EncodedWeights = field(repr=False)
    input_range: tuple[float, float]
    range: RangeReport = field(repr=False)
    step_names: tuple[str, ...] = field(repr=False)
    final_activation: FinalActivation | None = None
    final_axis: int = -1

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
            (batch, *output_shape), before any final activation.

        Raises:
            InputError: ``x`` does not fit.
        """
        encoded = run_reference(self.plan, self.weights, self.check_inputs(x))
        return fixedpoint.decode(encoded, BIAS_BITS)


@overload
def load_model(
    source: PathLike,
    input_range: tuple[float, float],
    /,
    *,
    name: str | None = None,
    require_proof: bool = False,
    calibration: object = None,
    time_limit: float = TIME_LIMIT,
    progress: RangeProgress | None = None,
) -> Model: ...
@overload
def load_model(
    source: PathLike,
    /,
    *,
    input_range: tuple[float, float],
    name: str | None = None,
    require_proof: bool = False,
    calibration: object = None,
    time_limit: float = TIME_LIMIT,
    progress: RangeProgress | None = None,
) -> Model: ...
@overload
def load_model(
    source: object,
    example_input: object,
    input_range: tuple[float, float] | None = None,
    *,
    name: str | None = None,
    require_proof: bool = False,
    calibration: object = None,
    time_limit: float = TIME_LIMIT,
    progress: RangeProgress | None = None,
) -> Model: ...
def load_model(
    source: object,
    *given: object,
    input_range: object = None,
    example_input: object = None,
    name: str | None = None,
    require_proof: bool = False,
    calibration: object = None,
    time_limit: float = TIME_LIMIT,
    progress: RangeProgress | None = None,
) -> Model:
    """Read a network, lower it to steps, encode it and check its range.

    ``load_model(path, input_range)`` reads a file: Keras (``.h5``, ``.keras``) or ONNX
    (``.onnx``). The framework is not needed, and nothing in the file is executed.
    ``load_model(module, example_input, input_range)`` takes a PyTorch module.

    Args:
        source: the file's path, or the module.
        input_range: the least and the largest value that inputs will have, such as ``(0, 1)``;
            for a module by default the example's, rounded outwards to whole numbers.
        example_input: a batch of inputs that the module takes, an array or a tensor.
        name: the model's name; by default the file's without its ending, or the module's class.
        require_proof: refuse a model whose range is not proven.
        calibration: samples (batch, *input_shape) to calibrate on where no proof is found; by
            default random inputs in the range.
        time_limit: seconds to look for a proof.
        progress: called with what is being done, how much of it, and of how much.

    Raises:
        ModelError: the file cannot be read, or has something that is not supported; names the
            layer.
        RangeError: values may leave the range in which the arithmetic is exact.
        InputError: the input range or the calibration samples make no sense.
    """
    rest = list(given)
    if isinstance(source, (str, os.PathLike)):
        if rest and input_range is None:
            input_range = rest.pop(0)
        graph = read_file(source)
        default = Path(os.fsdecode(source)).stem
    else:
        if rest and example_input is None:
            example_input = rest.pop(0)
        if rest and input_range is None:
            input_range = rest.pop(0)
        graph = read_module(source, example_input)
        default = type(source).__name__
        if input_range is None:
            input_range = around(example_input)
    if rest:
        raise TypeError("load_model got too many positional arguments, or one of them twice")
    return build_model(
        graph,
        input_range,  # type: ignore[arg-type]  # checked there
        name=default if name is None else name,
        require_proof=require_proof,
        calibration=calibration,
        time_limit=time_limit,
        progress=progress,
    )


def build_model(
    graph: Graph,
    input_range: tuple[float, float],
    *,
    name: str = "model",
    require_proof: bool = False,
    calibration: object = None,
    time_limit: float = TIME_LIMIT,
    progress: RangeProgress | None = None,
) -> Model:
    """Make a model from a network in memory; see ``load_model``."""
    if not name:
        raise ModelError("the model's name must not be empty")
    bounds = encoded_range(input_range)
    declared = (float(input_range[0]), float(input_range[1]))
    lowered = lower(graph)
    weights = encode_weights(lowered)
    samples = None
    if calibration is not None:
        samples = check_inputs(calibration, shape=lowered.plan.input_shape, input_range=declared)
    report = analyse(
        lowered.plan,
        lowered.names,
        weights,
        bounds,
        require_proof=require_proof,
        calibration=samples,
        time_limit=time_limit,
        progress=progress,
    )
    return Model(
        name=name,
        plan=lowered.plan,
        weights=weights,
        input_range=declared,
        range=report,
        step_names=lowered.names,
        final_activation=lowered.final,
        final_axis=lowered.final_axis,
    )
