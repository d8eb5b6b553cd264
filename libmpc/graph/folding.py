"""From a network to a plan: every run of linear layers becomes one linear step.

The rules, in the order in which they apply (they and the orders of summation in ``linear`` fix
every bit of the encoded weights):

1. Dropout goes; so does flattening, since values are contiguous, and a softmax at the very end,
   which is recorded for the client; of several ReLUs in a row one stays.
2. What stands between two ReLUs (or the input, or the output) is one linear run. Average poolings
   at its head become sums over windows, and their sizes multiply into a divisor. The layers after
   them are folded into one map by ``linear.fold``; poolings right after a convolution become sums
   over windows before it.
3. A run without weights (a ReLU on the bare input, two ends, a pooling at the very end) gets the
   identity: one weight 1 for every value, bias 0.
4. A run's weights are float64(W) / float64(divisor), divided once, after all sums.

Everything linear is folded even where this costs more multiplications, as in a bottleneck of two
dense layers: keeping them apart needs a truncation between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from pydantic import ValidationError

from libmpc.errors import ModelError
from libmpc.graph.linear import fold
from libmpc.graph.maps import DenseMap, LinearMap, linear_map
from libmpc.graph.nodes import (
    AveragePooling2D,
    Conv2D,
    Dense,
    Flatten,
    Floats,
    Graph,
    Identity,
    Input,
    Node,
    Relu,
    Shape,
    Softmax,
)
from libmpc.graph.plan import (
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ReluStep,
    Step,
    SumPoolStep,
    Window,
)


@dataclass(frozen=True, eq=False)
class Folded:
    """A plan with the float64 weights of its linear steps, and where they came from.

    Attributes:
        plan: the public steps.
        weights: by step index: W (the step's ``weight_shape``) and b (outputs,).
        names: for each step, the layers that it does; for messages to the owner only.
        softmax: whether the client is left with a softmax.
    """

    plan: Plan
    weights: dict[int, tuple[Floats, Floats]] = field(repr=False)
    names: tuple[str, ...]
    softmax: bool


def fold_graph(graph: Graph) -> Folded:
    """Fold a network into a plan.

    Raises:
        ModelError: the network branches, has a softmax before its end, or folds into a layer that
            is too large; names the layer.
    """
    chain = graph.chain()
    if len(chain) < 2:
        raise ModelError("the model has no layers")
    softmax = _softmax_at_end([node for node, _ in chain])
    first, shape = chain[0]
    assert isinstance(first, Input)
    builder = _Builder(shape, first.name)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
        for node, after in chain[1:]:
            if isinstance(node, Relu):
                builder.relu(shape, node.name)
            elif isinstance(node, (Conv2D, Dense, AveragePooling2D)):
                builder.linear(node, shape)
            elif not isinstance(node, (Identity, Softmax, Flatten)):
                raise node.refuse("cannot be folded")
            shape = after
        return builder.finish(shape, softmax)


def _softmax_at_end(nodes: list[Node]) -> bool:
    rest = [node for node in nodes if not isinstance(node, Identity)]
    for node in rest[:-1]:
        if isinstance(node, Softmax):
            raise node.refuse("a softmax is supported as the last layer only")
    return isinstance(rest[-1], Softmax)


class _Builder:
    """The steps so far, and the linear run that is open."""

    def __init__(self, shape: Shape, name: str) -> None:
        self._steps: list[Step] = []
        self._names: list[str] = []
        self._weights: dict[int, tuple[Floats, Floats]] = {}
        self._run: LinearMap | None = None
        self._pooled: list[str] = []
        self._divisor = 1
        self._add(InputStep(shape=shape), name)

    def linear(self, node: Conv2D | Dense | AveragePooling2D, shape: Shape) -> None:
        if self._run is not None:
            try:
                self._run = fold(self._run, node, shape)
            except ValidationError as error:
                raise _plan_error(error, node.name) from None
        elif isinstance(node, AveragePooling2D):
            window = Window(
                height=shape[0],
                width=shape[1],
                channels=shape[2],
                kernel=node.pool,
                strides=node.strides,
            )
            self._add(SumPoolStep(source=self._last, window=window), node.name)
            self._pooled.append(node.name)
            self._divisor *= math.prod(node.pool)
        else:
            self._run = linear_map(node, shape, self._divisor)

    def relu(self, shape: Shape, name: str) -> None:
        if isinstance(self._steps[-1], ReluStep) and self._run is None:
            return
        self._close(shape, name)
        self._add(ReluStep(source=self._last, shape=shape), name)

    def finish(self, shape: Shape, softmax: bool) -> Folded:
        self._close(shape, "the output")
        self._add(OutputStep(source=self._last, shape=shape), "the output")
        try:
            plan = Plan(steps=tuple(self._steps))
        except ValidationError as error:
            raise _plan_error(error) from None
        return Folded(plan, self._weights, tuple(self._names), softmax)

    @property
    def _last(self) -> int:
        return len(self._steps) - 1

    def _add(self, step: Step, name: str) -> None:
        self._steps.append(step)
        self._names.append(name)

    def _close(self, shape: Shape, reader: str) -> None:
        """End the run, whose values have ``shape``, with one linear step."""
        run = self._run
        if run is None:
            ones, names = np.ones((1, 1)), tuple(self._pooled) or (f"identity before {reader}",)
            run = DenseMap(names, math.prod(shape), ones, np.zeros(1), self._divisor)
        self._run, self._divisor, self._pooled = None, 1, []
        for pooling, window in run.sums:
            self._add(SumPoolStep(source=self._last, window=window), pooling)
        name = " + ".join(run.names)
        try:
            step = _step(run, self._last)
        except ValidationError as error:
            raise _plan_error(error, name) from None
        self._add(step, name)
        matrix = run.weights if isinstance(run, DenseMap) else run.kernel
        weights = matrix.reshape(step.weight_shape) / float(run.divisor)
        self._weights[self._last] = (weights, run.bias)


def _step(run: LinearMap, source: int) -> DenseStep | ConvStep:
    if isinstance(run, DenseMap):
        inputs, outputs = run.weights.shape
        return DenseStep(source=source, rows=run.rows, inputs=inputs, outputs=outputs)
    window = Window(
        height=run.input_shape[0],
        width=run.input_shape[1],
        channels=run.input_shape[2],
        kernel=(run.kernel.shape[0], run.kernel.shape[1]),
        strides=run.strides,
        dilation=run.dilation,
        padding=run.padding,
    )
    return ConvStep(source=source, window=window, filters=run.kernel.shape[3])


def _plan_error(error: ValidationError, name: str = "") -> ModelError:
    first = error.errors(include_input=False, include_url=False)[0]
    where = f"layer {name!r}: " if name else ""
    return ModelError(f"{where}the model is beyond what a plan may have: {first['msg']}")
