"""What well-known pieces of networks become, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest

from libmpc import fixedpoint
from libmpc.errors import ModelError
from libmpc.graph import activations
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.encoding import encode_weights
from libmpc.graph.floating import run_float
from libmpc.graph.lowering import Lowered, lower
from libmpc.graph.lowering.cost import ROUNDS
from libmpc.graph.nodes import Floats
from libmpc.graph.plan import ConvStep, PadStep, RectifyStep, ScaleStep
from libmpc.graph.reference import run_reference

RNG = np.random.default_rng(5)


def ops(lowered: Lowered) -> str:
    return " ".join(step.op for step in lowered.plan.steps)


def cost(lowered: Lowered) -> tuple[int, int, int]:
    """Rounds, multiplications, and values that are truncated or compared."""
    talking = [step for step in lowered.plan.steps if step.op in ROUNDS]
    macs = sum(step.macs for step in lowered.plan.linear_steps.values())
    return 1 + sum(ROUNDS[s.op] for s in talking), macs, sum(s.size for s in talking)


class Net:
    """A network whose numbers are so coarse that float64 is exact; it checks itself."""

    def __init__(self, *shape: int) -> None:
        self.b = GraphBuilder(shape)
        self.x = self.b.input

    def numbers(self, *shape: int) -> Floats:
        return RNG.integers(-4, 5, shape) / 16.0

    def conv(
        self, name: str, x: str, filters: int, size: int = 3, stride: int = 1, groups: int = 1
    ) -> str:
        kernel = self.numbers(size, size, self.b.shapes[x][-1] // groups, filters)
        pad = size // 2
        return self.b.conv(name, x, kernel, None, (stride,) * 2, (1, 1), (pad,) * 4, groups)

    def norm(self, name: str, x: str) -> str:
        channels = self.b.shapes[x][-1]
        return self.b.scale(name, x, self.numbers(channels), self.numbers(channels))

    def conv_norm_relu(
        self, name: str, x: str, filters: int, size: int = 3, stride: int = 1
    ) -> str:
        return self.b.relu(f"{name}_relu", self.conv_norm(name, x, filters, size, stride))

    def conv_norm(self, name: str, x: str, filters: int, size: int = 3, stride: int = 1) -> str:
        return self.norm(f"{name}_norm", self.conv(name, x, filters, size, stride))

    def lowered(self, output: str) -> Lowered:
        """The plan; its answers agree with the network."""
        graph = self.b.graph(output)
        made = lower(graph)
        x = RNG.integers(-16, 17, (2, *made.plan.input_shape)) / 16.0
        ring = run_reference(made.plan, encode_weights(made), fixedpoint.encode(x))
        assert np.abs(fixedpoint.decode(ring, 32) - run_float(graph, x)).max() < 2e-3
        return made


def test_residual_blocks() -> None:
    net = Net(8, 8, 4)
    x = net.conv_norm_relu("stem", net.x, 4)
    y = net.conv_norm("b", net.conv_norm_relu("a", x, 4), 4)
    x = net.b.relu("block1", net.b.sum_of("add1", [x, y]))
    y = net.conv_norm("d", net.conv_norm_relu("c", x, 6, stride=2), 6)
    short = net.conv_norm("short", x, 6, size=1, stride=2)
    x = net.b.relu("block2", net.b.sum_of("add2", [y, short]))
    x = net.b.dense("fc", net.b.mean_over("mean", x, (0, 1)), net.numbers(6, 3))
    made = net.lowered(x)
    blocks = "conv lift relu conv add relu conv conv relu conv add relu"
    assert ops(made) == f"input conv relu {blocks} sum dense output"
    macs = 3 * 64 * 9 * 4 * 4 + 16 * (9 * 4 * 6 + 9 * 6 * 6 + 4 * 6) + 6 * 3
    assert cost(made) == (21, macs, 3 * 64 * 4 + 2 * 16 * 6)
    assert "b + b_norm" in made.names and "short + short_norm" in made.names


def test_a_preactivated_residual_block_rounds_its_sum_once() -> None:
    net = Net(6, 6, 3)
    x = net.conv("stem", net.x, 3)
    y = net.b.relu("r1", net.norm("n1", x))
    x = net.b.sum_of("add", [x, net.conv("c1", y, 3)])
    y = net.b.relu("r2", net.norm("n2", x))
    made = net.lowered(net.b.sum_of("add2", [x, net.conv("c2", y, 3)]))
    # The second sum is not rounded: nothing needs it at scale 2^16.
    assert ops(made).count("truncate") == 2
    assert cost(made)[0] == 17


def test_factors_go_to_the_terms_of_a_sum() -> None:
    net = Net(4, 4, 2)
    x = net.b.relu("r", net.conv("c0", net.x, 2))
    total = net.b.sum_of("add", [net.conv("c1", x, 2), x])
    made = net.lowered(net.b.relu("r2", net.norm("n", total)))
    assert ops(made) == "input conv relu conv scale add relu lift output"
    assert made.names[3:5] == ("c1 + n", "n")


def test_mobilenet_blocks() -> None:
    net = Net(28, 28, 8)
    x = net.conv("expand", net.x, 48, 1)
    x = activations.clip(net.b, "six1", net.norm("n1", x), 0.0, 6.0)
    x = net.norm("n2", net.conv("depthwise", x, 48, groups=48))
    x = activations.clip(net.b, "six2", x, 0.0, 6.0)
    y = net.norm("n3", net.conv("project", x, 8, 1))
    made = net.lowered(net.b.sum_of("add", [net.x, y]))
    # The two ReLUs of a clip are one step.
    clip = "bias concat relu slice slice add"
    assert ops(made).replace("lift ", "") == f"input conv {clip} conv {clip} conv add output"
    pixels = 28 * 28
    assert cost(made) == (9, pixels * (8 * 48 + 9 * 48 + 48 * 8), 2 * 2 * pixels * 48)


def test_a_separable_convolution_is_folded_only_where_it_pays() -> None:
    small, large = Net(8, 8, 8), Net(56, 56, 16)
    for net, expected in ((small, "input conv relu"), (large, "input conv truncate conv relu")):
        channels = net.b.shapes[net.x][-1]
        x = net.conv("pointwise", net.conv("depthwise", net.x, channels, groups=channels), 64, 1)
        made = net.lowered(net.b.relu("r", x))
        assert ops(made).startswith(expected)


def test_a_bottleneck_of_two_matrices_stays_one() -> None:
    for outputs, expected in ((256, "dense output"), (4096, "dense truncate dense output")):
        net = Net(1024)
        x = net.b.dense("d1", net.x, net.numbers(1024, 8) / 8.0)
        made = lower(net.b.graph(net.b.dense("d2", x, net.numbers(8, outputs))))
        assert ops(made) == f"input {expected}"


def test_lenet_with_max_pooling() -> None:
    net = Net(28, 28, 1)
    x = net.b.max_pool("p1", net.conv("c1", net.x, 6, 5), (2, 2), (2, 2))
    x = net.b.relu("r1", x)
    x = net.b.relu("r2", net.conv("c2", x, 16, 5))
    x = net.b.reshape("flat", net.b.max_pool("p2", x, (2, 2), (2, 2)), (784,))
    x = net.b.relu("r3", net.b.dense("d1", x, net.numbers(784, 20)))
    made = net.lowered(net.b.dense("d2", x, net.numbers(20, 10)))
    # Max pooling of a ReLU: 3 rounds for rows, 3 for columns.
    pool = "slice slice add rectify add slice slice add rectify add"
    assert ops(made) == f"input conv relu {pool} conv relu {pool} dense relu dense output"
    compared = sum(s.size for s in made.plan.steps if isinstance(s, RectifyStep))
    assert compared == (28 * 28 * 6 + 14 * 14 * 16) * 3 // 4
    macs = 784 * 25 * 6 + 196 * 25 * 6 * 16 + 784 * 20 + 20 * 10
    assert cost(made) == (25, macs, 784 * 6 + 196 * 16 + compared + 20)


def test_inception_branches_share_their_rounds() -> None:
    net = Net(8, 8, 4)
    x = net.conv_norm_relu("stem", net.x, 4)
    one = net.conv_norm_relu("one", x, 3, 1)
    two = net.conv_norm_relu("two_b", net.conv_norm_relu("two_a", x, 2, 1), 3)
    pool = net.b.max_pool("pool", x, (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    pool = net.conv_norm_relu("pooled", pool, 2, 1)
    made = net.lowered(net.b.concat("cat", [one, two, pool], -1))
    # The pool's four maxima, the stem, the longest branch; the last ReLU is everybody's.
    assert cost(made)[0] == 1 + 4 + 4 * 3 + 4 + 4
    assert "one_relu + two_a_relu" in made.names or "two_b_relu + pooled_relu" in made.names


def test_dense_blocks_normalise_each_part() -> None:
    net = Net(6, 6, 2)
    both = net.b.concat("cat", [net.conv("c1", net.x, 2), net.conv("c2", net.x, 3)], -1)
    made = net.lowered(net.b.relu("r", net.norm("n", both)))
    assert ops(made) == "input conv conv concat relu lift output"
    assert made.names[1:3] == ("c1 + n", "c2 + n")


def test_means_before_a_concatenation() -> None:
    net = Net(6, 6, 2)
    x = net.b.relu("r", net.conv("c", net.x, 2))
    mean = net.b.scale("p", net.b.sum_pool("p", x, (2, 2), (2, 2)), 0.25)
    largest = net.b.max_pool("m", x, (2, 2), (2, 2))
    y = net.b.concat("cat", [mean, largest], -1)
    made = net.lowered(net.b.relu("last", net.conv("c2", y, 3, 1)))
    assert not any(isinstance(step, ScaleStep) for step in made.plan.steps)
    assert cost(made)[0] == 1 + 4 + 3 + 3 + 4


def test_squeeze_and_excitation() -> None:
    net = Net(4, 4, 4)
    x = net.conv_norm("c", net.x, 4)
    mean = net.b.mean_over("m", x, (0, 1))
    hidden = net.b.relu("r", net.b.dense("d1", mean, net.numbers(4, 2)))
    hidden = net.b.dense("d2", hidden, net.numbers(2, 4))
    gate = activations.hard_sigmoid(net.b, "g", hidden, 0.25, 0.5)
    gate = net.b.expand("e", net.b.reshape("s", gate, (1, 1, 4)), (4, 4, 4))
    gated = net.b.multiply("mul", x, gate)
    made = net.lowered(net.b.relu("last", gated))
    truncated = sum(s.size for s in made.plan.steps if s.op == "truncate")
    assert truncated == 64 + 4  # the image for the product, its sums for the matrix
    assert cost(made)[0] == 1 + 4 + 4 + 4 + 4


def test_hard_swish_and_leaky() -> None:
    net = Net(10)
    x = activations.hard_swish(net.b, "swish", net.b.dense("d", net.x, net.numbers(10, 6)))
    made = net.lowered(net.b.dense("d2", x, net.numbers(6, 2)))
    assert cost(made)[0] == 1 + 4 + 4 + 4
    net = Net(10)
    x = activations.leaky_relu(net.b, "leaky", net.b.dense("d", net.x, net.numbers(10, 6)), 0.125)
    made = net.lowered(net.b.dense("d2", x, net.numbers(6, 2)))
    # Both halves of a leaky ReLU are one step, and the next matrix takes its slope in.
    assert ops(made) == "input dense add concat relu slice slice dense dense add output"


def test_relu_of_what_is_rounded_anyway() -> None:
    net = Net(10)
    x = net.b.dense("d", net.x, net.numbers(10, 6))
    y = net.b.multiply("square", x, x)
    made = net.lowered(net.b.sum_of("both", [y, net.b.relu("r", x)]))
    assert ops(made) == "input dense truncate product rectify lift add output"


@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "padding"),
    [
        ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)),
        ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1)),
        ((3, 2), (1, 3), (1, 1), (2, 0, 0, 1)),
        ((5, 4), (1, 1), (1, 1), (2, 2, 3, 1)),
        ((2, 3), (1, 1), (2, 2), (1, 1, 2, 2)),
        ((1, 7), (1, 1), (1, 1), (0, 0, 0, 0)),
        ((3, 3), (4, 4), (1, 1), (0, 1, 0, 1)),
    ],
)
def test_max_pooling(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> None:
    net = Net(2, 6, 7, 2)
    x = net.b.max_pool("m", net.b.sum_of("s", [net.x], [-3]), kernel, strides, dilation, padding)
    made = net.lowered(x)
    rounds = sum(3 * int(np.ceil(np.log2(k))) for k in kernel)
    assert cost(made)[0] == 1 + rounds
    # Padding repeats values: any number instead would limit what can be pooled.
    assert not any(isinstance(step, PadStep) for step in made.plan.steps)


def test_windows_in_the_padding_have_no_maximum() -> None:
    net = Net(3, 3, 1)
    pool = net.b.max_pool("m", net.x, (2, 2), (1, 1), (1, 1), (0, 2, 0, 0))
    with pytest.raises(ModelError, match="'m'.*nothing but padding"):
        lower(net.b.graph(pool))
    pool = net.b.max_pool("m2", net.x, (2, 2), (1, 1), (4, 1), (4, 2, 0, 0))
    with pytest.raises(ModelError, match="'m2'.*nothing but padding"):
        lower(net.b.graph(pool))


def test_minimum_and_maximum_keep_the_scale_of_a_value() -> None:
    net = Net(6)
    y = net.b.dense("d", net.x, net.numbers(6, 6))
    made = net.lowered(net.b.minimum("min", y, net.x))
    assert ops(made) == "input dense lift add relu add lift output"
    # |x| = x + max(-2x, 0)
    both = net.lowered(net.b.maximum("max", net.x, net.b.sum_of("n", [net.x], [-1])))
    assert ops(both) == "input add rectify add lift output"


def test_padding_with_a_number() -> None:
    net = Net(4, 4, 1)
    padded = net.b.pad("p", net.conv("c", net.x, 2), (1, 0, 0), (0, 2, 0), value=-0.5)
    made = net.lowered(net.b.relu("r", padded))
    assert ops(made) == "input conv pad bias relu lift output"
    inner = net.lowered(net.b.pad("p2", net.x, (1, 1, 0), (1, 1, 0), value=2.5))
    assert ops(inner) == "input pad lift output"
    [pad] = [s for s in inner.plan.steps if isinstance(s, PadStep)]
    assert pad.value == 5 << 15


def test_what_is_padded_is_rounded_before() -> None:
    net = Net(40, 40, 8)
    x = net.b.pad("up", net.conv("c", net.x, 8), (2, 2, 1), (2, 2, 0))
    made = net.lowered(net.conv("c2", x, 32))
    assert ops(made) == "input conv truncate pad conv output"
    assert made.plan.steps[2].size == 40 * 40 * 8


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize(
    ("kernel", "between", "before", "after"),
    [
        ((3, 3), (1, 1), (2, 2), (2, 2)),
        ((4, 4), (1, 1), (2, 2), (2, 2)),
        ((2, 2), (1, 1), (1, 1), (1, 1)),
        ((5, 2), (2, 0), (3, 0), (1, 2)),
        ((2, 5), (0, 3), (1, 4), (2, 0)),
        ((3, 1), (2, 2), (0, 0), (4, 5)),
    ],
)
def test_transposed_convolutions(
    kernel: tuple[int, int],
    between: tuple[int, int],
    before: tuple[int, int],
    after: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> None:
    net = Net(5, 4, 4)
    stuffed = net.b.pad("up", net.x, (*before, 0), (*after, 0), (*between, 0))
    weights, bias = net.numbers(*kernel, 4 // groups, 6), net.numbers(6)
    x = net.b.conv("c", stuffed, weights, bias, (1, 1), dilation, (1, 0, 0, 1), groups)
    x = net.b.relu("r", net.norm("n", x))
    made = net.lowered(x)
    talking = [step for step in made.plan.steps if step.op in ROUNDS]
    assert [step.op for step in talking] == ["relu"]


def test_zeros_between_pixels_are_not_multiplied() -> None:
    net = Net(7, 7, 4)
    stuffed = net.b.pad("up", net.x, (2, 2, 0), (2, 2, 0), (1, 1, 0))
    x = net.b.conv("c", stuffed, net.numbers(4, 4, 4, 6))
    made = net.lowered(net.b.relu("r", net.norm("n", x)))
    # 14 x 14 results (and some at the border), each with 2 x 2 taps of its own
    assert cost(made) == (5, 16 * 16 * 4 * 4 * 6, 14 * 14 * 6)
    assert ops(made) == "input conv permute slice relu lift output"


def test_images_before_the_channels() -> None:
    net = Net(3, 5, 5, 2)
    made = net.lowered(net.norm("n", net.conv("c", net.x, 4)))
    [conv] = made.plan.linear_steps.values()
    assert isinstance(conv, ConvStep) and conv.images == 3


def test_zero_padding_belongs_to_the_convolution() -> None:
    net = Net(7, 6, 2)
    padded = net.b.pad("pad", net.x, (0, 1, 0), (1, 2, 0))
    made = net.lowered(net.conv("c", padded, 3, 1))
    [conv] = made.plan.linear_steps.values()
    assert isinstance(conv, ConvStep)
    assert (ops(made), conv.window.padding) == ("input conv output", (0, 1, 1, 2))
    shared = net.b.relu("r", padded)  # read twice: a step
    made = net.lowered(net.b.sum_of("s", [net.conv("c2", padded, 2, 1), shared]))
    assert "pad" in ops(made)


def test_factors_that_nobody_folds_are_computed_once() -> None:
    net = Net(4, 4, 2)
    x = net.norm("n", net.b.relu("r", net.x))
    made = net.lowered(activations.clip(net.b, "clip", x, 0.0, 1.0))
    assert ops(made).count("scale") == 1


def test_factors_stay_behind_a_slice_that_turns_them_round() -> None:
    for strides, expected in ((-1, 2), (1, 1)):
        net = Net(6)
        x = net.b.dense("d", net.x, net.numbers(6, 5))
        x = net.b.slice("s", x, (4 if strides < 0 else 0,), (5,), (strides,))
        made = net.lowered(net.norm("n", x))
        assert len(made.plan.linear_steps) == expected


def test_values_that_are_moved_very_often() -> None:
    net = Net(8)
    x = net.b.dense("d", net.x, net.numbers(8, 4))
    for index in range(1200):
        x = net.b.slice(f"turn{index}", x, (3,), (4,), (-1,))
    for index in range(16):
        x = net.b.concat(f"twice{index}", [x, x], 0)
    made = lower(net.b.graph(net.b.multiply("m", x, x)))
    # Rounded once, and then moved.
    assert [s.size for s in made.plan.steps if s.op == "truncate"] == [4 << 16]
