"""Random plans: graphs of steps of every kind, whose values stay where every step is exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConcatStep,
    ConvStep,
    DenseStep,
    ExpandStep,
    InputStep,
    Kind,
    LiftStep,
    OutputStep,
    PadStep,
    PermuteStep,
    Plan,
    PositiveStep,
    ProductStep,
    RectifyStep,
    ReluStep,
    ScaleStep,
    SliceStep,
    Step,
    SumPoolStep,
    SumStep,
    TruncateStep,
    Window,
)

Shape = tuple[int, ...]
LIMITS: dict[Kind, int] = {"masked": 2**31 - 1, "additive": 2**46}
LARGEST = 120  # values of a step


def bounds(plan: Plan, inputs: int = 2**20) -> list[int]:
    """For each step the largest absolute value, with inputs up to ``inputs`` and weights that use
    up to 2^44 of a linear step's range, its biases another 2^44."""
    found: list[int] = []
    for step in plan.steps:
        found.append(bound(step, [found[read] for read in step.reads] or [inputs]))
    return found


def bound(step: Step, sources: Sequence[int]) -> int:
    """The largest absolute value of a step's result, from its sources'."""
    x = sources[0]
    if isinstance(step, (DenseStep, ConvStep, ScaleStep)):
        return 2**45
    if isinstance(step, BiasStep):
        return x + 2**44
    if isinstance(step, LiftStep):
        return x << 16
    if isinstance(step, ProductStep):
        return x * sources[1]
    if isinstance(step, (ReluStep, TruncateStep)):
        return (x >> 16) + 1
    if isinstance(step, PositiveStep):
        return 1 << 16
    if isinstance(step, AddStep):
        pairs = zip(sources, step.coefficients, strict=True)
        return sum(part * abs(coefficient) for part, coefficient in pairs)
    if isinstance(step, ConcatStep):
        return max(sources)
    if isinstance(step, PadStep):
        return max(x, abs(step.value))
    if isinstance(step, SumPoolStep):
        return x * math.prod(step.window.kernel)
    if isinstance(step, SumStep):
        return x * math.prod(step.shape[axis] for axis in step.axes)
    return x


def random_plan(rng: np.random.Generator, steps: int | None = None) -> Plan:
    """Up to a dozen steps and what is needed to read every value; ``steps`` sets their number."""
    draft = _Draft(rng)
    for _ in range(steps if steps is not None else draft.pick(2, 14)):
        draft.grow()
    return draft.finish()


class _Draft:
    """A plan while it grows."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        shape = (self.pick(1, 6), self.pick(1, 6), self.pick(1, 3))
        self.steps: list[Any] = [InputStep(shape=shape if rng.random() < 0.7 else (shape[0],))]
        self.kinds: list[Kind] = ["masked"]
        self.bounds = [2**20]

    def pick(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def choose(self, options: Sequence[Any]) -> Any:
        return options[self.pick(0, len(options) - 1)]

    def grow(self) -> None:
        """One more step; of a kind that happens to fit."""
        makers: list[tuple[str, Callable[[int], Any]]] = [
            ("masked", self._dense),
            ("masked", self._conv),
            ("masked", self._conv),
            ("masked", self._scale),
            ("masked", lambda s: LiftStep(source=s, shape=self._shape(s))),
            ("masked", self._product),
            ("masked", lambda s: RectifyStep(source=s, shape=self._shape(s))),
            ("masked", lambda s: PositiveStep(source=s, shape=self._shape(s))),
            ("additive", self._bias),
            ("additive", lambda s: ReluStep(source=s, shape=self._shape(s))),
            ("additive", lambda s: ReluStep(source=s, shape=self._shape(s))),
            ("additive", lambda s: TruncateStep(source=s, shape=self._shape(s))),
            ("", self._sum_pool),
            ("", self._sum_pool),
            ("", self._sum),
            ("", self._add),
            ("", self._add),
            ("", self._permute),
            ("", self._slice),
            ("", self._pad),
            ("", self._concat),
            ("", self._expand),
        ]
        for _ in range(50):
            kind, make = self.choose(makers)
            sources = [i for i, k in enumerate(self.kinds) if kind in ("", k)]
            # Late values more often than early ones, so that plans grow deep.
            late = sources[-3:] if self.rng.random() < 0.7 else sources
            if late and self._accept(make(self.choose(late))):
                return

    def _accept(self, step: Any) -> bool:
        if not step or step.size > LARGEST:
            return False
        size = bound(step, [self.bounds[read] for read in step.reads])
        kind = step.makes or self.kinds[step.reads[0]]
        if size > LIMITS[kind]:
            return False
        self.steps.append(step)
        self.kinds.append(kind)
        self.bounds.append(size)
        return True

    def finish(self) -> Plan:
        """Everything that nobody reads goes to the output."""
        read = {source for step in self.steps for source in step.reads}
        loose = [i for i in range(len(self.steps)) if i not in read]
        for place, index in enumerate(loose):
            if self.kinds[index] == "masked":
                lift = LiftStep(source=index, shape=self.steps[index].output_shape)
                if not self._accept(lift):
                    size = self.steps[index].size
                    assert self._accept(PositiveStep(source=index, shape=(size,)))
                    lift = LiftStep(source=len(self.steps) - 1, shape=(size,))
                    assert self._accept(lift)
                loose[place] = len(self.steps) - 1
        self.rng.shuffle(loose)
        last = loose[0]
        if len(loose) > 1:
            shapes = tuple((self.steps[i].size,) for i in loose)
            self.steps.append(ConcatStep(inputs=tuple(loose), shapes=shapes, axis=0))
            last = len(self.steps) - 1
        shape = self.steps[last].output_shape
        return Plan(steps=(*self.steps, OutputStep(source=last, shape=shape)))

    # ---- one maker a kind of step; ``None`` where it does not fit

    def _shape(self, source: int) -> Shape:
        """A shape in which a step might see a value."""
        shape: Shape = self.steps[source].output_shape
        if self.rng.random() < 0.3:
            size = math.prod(shape)
            first = self.choose([d for d in range(1, size + 1) if size % d == 0])
            return (first, size // first)
        return shape

    def _taps_fit(self, source: int, taps: int) -> bool:
        return self.bounds[source] * taps <= 2**44

    def _dense(self, s: int) -> Any:
        size = self.steps[s].size
        rows = self.choose([d for d in range(1, size + 1) if size % d == 0])
        rows = rows if self.rng.random() < 0.4 else 1
        if not self._taps_fit(s, size // rows):
            return None
        return DenseStep(source=s, rows=rows, inputs=size // rows, outputs=self.pick(1, 6))

    def _window(self, s: int) -> tuple[Window, int] | None:
        shape = self.steps[s].output_shape
        if len(shape) == 4:
            images, shape = shape[0], shape[1:]
        elif len(shape) == 3 and self.rng.random() < 0.3 and shape[0] % 2 == 0:
            images, shape = 2, (shape[0] // 2, *shape[1:])
        elif len(shape) == 3:
            images = 1
        else:
            return None
        height, width, channels = shape
        window = Window(
            height=height,
            width=width,
            channels=channels,
            kernel=(self.pick(1, min(height, 3)), self.pick(1, min(width, 3))),
            strides=(self.pick(1, 2), self.pick(1, 2)),
            dilation=(2, 2) if min(height, width) >= 5 and self.rng.random() < 0.3 else (1, 1),
            padding=tuple(int(p) for p in self.rng.integers(0, 3, 4)),  # type: ignore[arg-type]
        )
        return window, images

    def _conv(self, s: int) -> Any:
        found = self._window(s)
        if found is None:
            return None
        window, images = found
        groups = self.choose([g for g in (1, 2, 3) if window.channels % g == 0])
        taps = math.prod(window.kernel) * window.channels // groups
        if not self._taps_fit(s, taps):
            return None
        filters = groups * self.pick(1, 3)
        return ConvStep(source=s, window=window, filters=filters, groups=groups, images=images)

    def _sum_pool(self, s: int) -> Any:
        found = self._window(s)
        return found and SumPoolStep(source=s, window=found[0], images=found[1])

    def _factors(self, shape: Shape) -> Shape:
        return tuple(1 if self.rng.random() < 0.4 else d for d in shape)

    def _scale(self, s: int) -> Any:
        shape = self._shape(s)
        return ScaleStep(source=s, shape=shape, factor_shape=self._factors(shape))

    def _bias(self, s: int) -> Any:
        shape = self._shape(s)
        return BiasStep(source=s, shape=shape, factor_shape=self._factors(shape))

    def _mates(self, s: int) -> list[int]:
        """Values of the same kind and size, itself included."""
        return [
            i
            for i, step in enumerate(self.steps)
            if self.kinds[i] == self.kinds[s] and step.size == self.steps[s].size
        ]

    def _product(self, s: int) -> Any:
        return ProductStep(inputs=(s, self.choose(self._mates(s))), shape=self._shape(s))

    def _add(self, s: int) -> Any:
        inputs = (s, *(self.choose(self._mates(s)) for _ in range(self.pick(0, 2))))
        coefficients = tuple(self.choose((1, 1, -1, 2, -3, 0)) for _ in inputs)
        return AddStep(inputs=inputs, coefficients=coefficients, shape=self._shape(s))

    def _sum(self, s: int) -> Any:
        shape = self._shape(s)
        axes = tuple(a for a in range(len(shape)) if self.rng.random() < 0.5)
        return axes and SumStep(source=s, shape=shape, axes=axes)

    def _permute(self, s: int) -> Any:
        shape = self._shape(s)
        order = tuple(int(a) for a in self.rng.permutation(len(shape)))
        return PermuteStep(source=s, shape=shape, order=order)

    def _slice(self, s: int) -> Any:
        shape = self._shape(s)
        starts = [self.pick(0, d - 1) for d in shape]
        strides = [self.choose((1, 1, 2, -1, -2)) for _ in shape]
        sizes = [
            self.pick(1, 1 + ((d - 1 - a) // b if b > 0 else a // -b))
            for d, a, b in zip(shape, starts, strides, strict=True)
        ]
        return SliceStep(
            source=s,
            shape=shape,
            starts=tuple(starts),
            sizes=tuple(sizes),
            strides=tuple(strides),
        )

    def _pad(self, s: int) -> Any:
        shape = self._shape(s)
        before, after, between = (tuple(self.pick(0, 1) for _ in shape) for _ in range(3))
        value = self.pick(-(2**30), 2**30) if self.kinds[s] == "masked" else 0
        value = value if self.rng.random() < 0.5 else 0
        return PadStep(
            source=s, shape=shape, before=before, after=after, between=between, value=value
        )

    def _concat(self, s: int) -> Any:
        shape = self._shape(s)
        axis = self.pick(0, len(shape) - 1)
        rest = math.prod(shape) // shape[axis]
        inputs, shapes = [s], [shape]
        for _ in range(self.pick(0, 2)):
            i = self.pick(0, len(self.steps) - 1)
            if self.kinds[i] == self.kinds[s] and self.steps[i].size % rest == 0:
                inputs.append(i)
                size = self.steps[i].size // rest
                shapes.append((*shape[:axis], size, *shape[axis + 1 :]))
        return ConcatStep(inputs=tuple(inputs), shapes=tuple(shapes), axis=axis)

    def _expand(self, s: int) -> Any:
        shape = self._shape(s)
        target = tuple(self.pick(1, 3) if d == 1 else d for d in shape)
        return ExpandStep(source=s, shape=shape, target=target)
