"""Random networks of all kinds of node, with branches, residuals and shared values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

from libmpc.graph import activations
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.nodes import Floats, Graph, Shape

LARGEST = 400  # values of one node
SHAPES = [(5,), (3, 4), (1, 6), (6, 5, 2), (4, 5, 2), (5, 4, 1), (6, 6, 3), (2, 3, 4, 2)]


@dataclass
class Sketcher:
    """Adds random nodes; constants are multiples of 2^-bits, up to 1."""

    draw: st.DrawFn
    bits: int
    builder: GraphBuilder
    rng: np.random.Generator
    values: list[str] = field(default_factory=list)
    depth: dict[str, int] = field(default_factory=dict)  # fraction bits that a value may have

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def constants(self, *shape: int) -> Floats:
        top = 2**self.bits
        return self.rng.integers(-top, top + 1, shape) / float(top)

    def repeated(self, shape: Shape) -> Floats:
        """Constants that repeat into a shape, along random axes."""
        dims = [dim if self.draw(st.booleans()) else 1 for dim in shape]
        while dims and dims[0] == 1 and self.draw(st.booleans()):
            dims.pop(0)
        return self.constants(*dims)

    def take(self) -> tuple[str, Shape]:
        """One of the values so far, mostly a late one."""
        back = min(self.number(0, 3), len(self.values) - 1)
        name = self.values[-1 - back]
        return name, self.builder.shapes[name]

    def put(self, name: str, bits: int) -> None:
        if math.prod(self.builder.shapes[name]) <= LARGEST and bits <= 22:
            self.values.append(name)
            self.depth[name] = bits

    def step(self) -> None:
        x, shape = self.take()
        kinds = ["scale", "offset", "dense", "add", "sum", "reshape", "transpose", "slice", "pad"]
        kinds += ["concat", "expand", "multiply", "relu", "relu", "max", "min", "clip", "leaky"]
        kinds += ["dense", "sign", "negate"]
        if len(shape) >= 3:
            kinds += ["conv", "conv", "conv", "sum_pool", "max_pool", "depthwise", "norm", "nchw"]
            kinds.append("upsample")
        kind = self.draw(st.sampled_from(kinds))
        getattr(self, f"_{kind}")(x, shape)

    def _partner(self, shape: Shape) -> str:
        alike = [name for name in self.values if self.builder.shapes[name] == shape]
        return alike[self.number(0, len(alike) - 1)]

    # ---- linear

    def _scale(self, x: str, shape: Shape) -> None:
        made = self.builder.scale("scale", x, self.repeated(shape), self.repeated(shape))
        self.put(made, self.depth[x] + 2)

    def _norm(self, x: str, shape: Shape) -> None:
        constants = self.constants(shape[-1]), self.constants(shape[-1])
        self.put(self.builder.scale("norm", x, *constants), self.depth[x] + 2)

    def _offset(self, x: str, shape: Shape) -> None:
        self.put(self.builder.scale("offset", x, 1.0, self.repeated(shape)), self.depth[x])

    def _negate(self, x: str, shape: Shape) -> None:
        factor = self.draw(st.sampled_from([-1, 2, -3]))
        self.put(self.builder.sum_of("negate", [x], [factor]), self.depth[x] + 2)

    def _dense(self, x: str, shape: Shape) -> None:
        outputs = self.number(1, 4)
        weights = self.constants(shape[-1], outputs)
        self.put(self.builder.dense("dense", x, weights, self.constants(outputs)), self.deep(x))

    def deep(self, x: str) -> int:
        return self.depth[x] + 4

    def _window(self, shape: Shape) -> dict[str, tuple[int, ...]]:
        kernel = tuple(self.number(1, min(3, dim)) for dim in shape[-3:-1])
        apart = tuple(
            self.number(1, 2) if (k - 1) * 2 < dim else 1
            for k, dim in zip(kernel, shape[-3:-1], strict=True)
        )
        return {
            "kernel": kernel,
            "strides": (self.number(1, 2), self.number(1, 2)),
            "dilation": apart,
            "padding": tuple(min(self.number(0, 1), k - 1) for k in kernel for _ in range(2)),
        }

    def _conv(self, x: str, shape: Shape) -> None:
        window = self._window(shape)
        groups = self.draw(st.sampled_from([g for g in (1, 2, 3) if shape[-1] % g == 0]))
        filters = groups * self.number(1, 2)
        kernel = self.constants(*window.pop("kernel"), shape[-1] // groups, filters)
        bias = self.constants(filters)
        made = self.builder.conv("conv", x, kernel, bias, groups=groups, **window)  # type: ignore[arg-type]
        self.put(made, self.deep(x))

    def _upsample(self, x: str, shape: Shape) -> None:
        """A transposed convolution."""
        gaps = [(0,) * (len(shape) - 3) + (self.number(0, 2), self.number(0, 2), 0)] * 3
        before, after, between = (
            tuple(self.number(0, 2) if gap else 0 for gap in gaps[0]) for _ in range(3)
        )
        stuffed = self.builder.pad("upsample", x, before, after, between)
        inside = self.builder.shapes[stuffed][-3:-1]
        size = tuple(self.number(1, min(4, dim)) for dim in inside)
        kernel = self.constants(*size, shape[-1], 2)
        made = self.builder.conv("upsample", stuffed, kernel, self.constants(2))
        self.put(self.builder.scale("upsample", made, self.constants(2)), self.deep(x) + 2)

    def _depthwise(self, x: str, shape: Shape) -> None:
        window = self._window(shape)
        filters = shape[-1] * self.number(1, 2)
        kernel = self.constants(*window.pop("kernel"), 1, filters)
        made = self.builder.conv("depthwise", x, kernel, None, groups=shape[-1], **window)  # type: ignore[arg-type]
        self.put(made, self.deep(x))

    def _sum_pool(self, x: str, shape: Shape) -> None:
        made = self.builder.sum_pool("pool", x, **self._window(shape))  # type: ignore[arg-type]
        if self.draw(st.booleans()):
            made = self.builder.scale("pool", made, 0.25)
        self.put(made, self.depth[x] + 4)

    def _sum(self, x: str, shape: Shape) -> None:
        axes = [axis for axis in range(len(shape)) if self.draw(st.booleans())]
        made = self.builder.sum_over("sum", x, axes, keep=self.draw(st.booleans()))
        self.put(made, self.depth[x] + 3)

    def _add(self, x: str, shape: Shape) -> None:
        other = self._partner(shape)
        factors = [self.draw(st.sampled_from([1, 1, -1])) for _ in range(2)]
        made = self.builder.sum_of("add", [x, other], factors)
        self.put(made, max(self.depth[x], self.depth[other]) + 1)

    # ---- moves

    def _reshape(self, x: str, shape: Shape) -> None:
        whole = math.prod(shape)
        first = self.draw(st.sampled_from([d for d in range(1, whole + 1) if whole % d == 0]))
        rest = whole // first
        second = self.draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
        after = (first, second, rest // second)[: self.number(1, 3)]
        if math.prod(after) == whole:
            self.put(self.builder.reshape("reshape", x, after), self.depth[x])

    def _transpose(self, x: str, shape: Shape) -> None:
        order = self.draw(st.permutations(range(len(shape))))
        self.put(self.builder.transpose("transpose", x, order), self.depth[x])

    def _nchw(self, x: str, shape: Shape) -> None:
        """Channels to the front, something element by element, and back."""
        rank = len(shape)
        front = (*range(rank - 3), rank - 1, rank - 3, rank - 2)
        back = (*range(rank - 3), rank - 2, rank - 1, rank - 3)
        y = self.builder.transpose("front", x, front)
        factor = self.constants(shape[-1], 1, 1)
        y = self.builder.relu("between", self.builder.scale("between", y, factor))
        self.put(self.builder.transpose("back", y, back), self.depth[x] + 2)

    def _slice(self, x: str, shape: Shape) -> None:
        starts, sizes, strides = [], [], []
        for dim in shape:
            size = self.number(1, dim)
            stride = self.number(1, max(1, (dim - 1) // max(1, size - 1))) if size > 1 else 1
            span = (size - 1) * stride
            start = self.number(0, dim - 1 - span) if span < dim else 0
            if self.draw(st.booleans()):
                start, stride = start + span, -stride
            starts.append(start)
            sizes.append(size)
            strides.append(stride)
        self.put(self.builder.slice("slice", x, starts, sizes, strides), self.depth[x])

    def _pad(self, x: str, shape: Shape) -> None:
        before, after, between = ([self.number(0, 1) for _ in shape] for _ in range(3))
        number = self.draw(st.sampled_from([0.0, 0.0, 0.5, -1.0]))
        self.put(self.builder.pad("pad", x, before, after, between, number), self.depth[x])

    def _concat(self, x: str, shape: Shape) -> None:
        other = self._partner(shape)
        made = self.builder.concat("concat", [x, other], self.number(0, len(shape) - 1))
        self.put(made, max(self.depth[x], self.depth[other]))

    def _expand(self, x: str, shape: Shape) -> None:
        target = [self.number(1, 3) if dim == 1 else dim for dim in shape]
        if len(shape) < 4 and self.draw(st.booleans()):
            target.insert(0, 2)
        self.put(self.builder.expand("expand", x, tuple(target)), self.depth[x])

    # ---- products and comparisons

    def _multiply(self, x: str, shape: Shape) -> None:
        other = self._partner(shape)
        bits = self.depth[x] + self.depth[other]
        if bits <= 16:
            self.put(self.builder.multiply("multiply", x, other), bits)

    def _relu(self, x: str, shape: Shape) -> None:
        self.put(self.builder.relu("relu", x), self.depth[x])

    def _sign(self, x: str, shape: Shape) -> None:
        self.put(self.builder.sign("sign", x), 1)

    def _max(self, x: str, shape: Shape) -> None:
        other = self._partner(shape)
        made = self.builder.maximum("max", x, other)
        self.put(made, max(self.depth[x], self.depth[other]))

    def _min(self, x: str, shape: Shape) -> None:
        other = self._partner(shape)
        made = self.builder.minimum("min", x, other)
        self.put(made, max(self.depth[x], self.depth[other]))

    def _clip(self, x: str, shape: Shape) -> None:
        self.put(activations.clip(self.builder, "clip", x, -0.5, 1.0), self.depth[x])

    def _leaky(self, x: str, shape: Shape) -> None:
        self.put(activations.leaky_relu(self.builder, "leaky", x, 0.25), self.depth[x] + 2)

    def _max_pool(self, x: str, shape: Shape) -> None:
        made = self.builder.max_pool("max_pool", x, **self._window(shape))  # type: ignore[arg-type]
        if self.draw(st.booleans()):
            made = self.builder.relu("max_pool", made)
        self.put(made, self.depth[x])


@st.composite
def graphs(draw: st.DrawFn, bits: int = 2) -> Graph:
    """Networks of up to a dozen layers; with few bits float64 is exact in whatever order."""
    shape = draw(st.sampled_from(SHAPES))
    builder = GraphBuilder(shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sketcher = Sketcher(draw, bits, builder, rng, [builder.input], {builder.input: 4})
    for _ in range(draw(st.integers(3, 14))):
        sketcher.step()
    return builder.graph(sketcher.values[-1])


def inputs(graph: Graph, count: int, seed: int = 0) -> Floats:
    """Random multiples of 2^-4 between -1 and 1."""
    rng = np.random.default_rng(seed)
    shape = (count, *graph.shapes[graph.nodes[0].name])
    return rng.integers(-16, 17, shape) / 16.0
