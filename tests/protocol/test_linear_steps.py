"""Steps without a message: the evaluators' shares and what the dealer knows add up to the result.

Also run with NUMBA_DISABLE_JIT=1 (``tests/ring/test_without_jit.py``).
"""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.plan import BiasStep, ConvStep, DenseStep, ScaleStep, SumPoolStep, Window
from libmpc.protocol import Cost, lift, linear, product
from libmpc.ring import MASK
from libmpc.ring.matmul import PackedMatrix
from tests import naive

Words = np.ndarray[Any, np.dtype[np.uint64]]
Weighted = DenseStep | ConvStep | ScaleStep

WINDOW = Window(
    height=5,
    width=4,
    channels=4,
    kernel=(2, 3),
    strides=(2, 1),
    dilation=(1, 1),
    padding=(1, 0, 2, 1),
)
POINT = Window(height=3, width=2, channels=4, kernel=(1, 1))
STEPS: dict[str, Weighted] = {
    "dense": DenseStep(source=0, inputs=7, outputs=3),
    "dense with rows": DenseStep(source=0, rows=3, inputs=2, outputs=5),
    "wide dense": DenseStep(source=0, rows=2, inputs=5, outputs=18),
    "conv": ConvStep(source=0, window=WINDOW, filters=3),
    "wide conv": ConvStep(source=0, window=WINDOW, filters=17),
    "wide conv 1x1": ConvStep(source=0, window=POINT, filters=6, images=2),
    "conv 1x1": ConvStep(source=0, window=POINT, filters=3),
    "conv of images": ConvStep(source=0, window=WINDOW, filters=2, images=3),
    "grouped": ConvStep(source=0, window=WINDOW, filters=6, groups=2),
    "grouped 1x1": ConvStep(source=0, window=POINT, filters=2, groups=2, images=2),
    "depthwise": ConvStep(source=0, window=WINDOW, filters=4, groups=4),
    "depthwise times three": ConvStep(source=0, window=WINDOW, filters=12, groups=4, images=2),
    "depthwise 1x1": ConvStep(source=0, window=POINT, filters=4, groups=4),
    "scale": ScaleStep(source=0, shape=(3, 2, 4), factor_shape=(1, 2, 1)),
    "scale by one": ScaleStep(source=0, shape=(6,), factor_shape=(1,)),
    "scale each": ScaleStep(source=0, shape=(2, 3), factor_shape=(2, 3)),
}
every = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())


def words(seed: int, *shape: int) -> Words:
    return np.random.default_rng(seed).integers(0, 2**64, shape, np.uint64)


def below48(values: Words) -> list[int]:
    reduced: list[int] = (values & MASK).tolist()
    return reduced


def obvious(step: Weighted, x: Words, w: Words, b: Words) -> Words:
    """One sample, in Python integers."""
    values, weights = naive.ints(x), naive.ints(w)
    if isinstance(step, DenseStep):
        out = naive.matmul(values.reshape(step.rows, step.inputs), weights) + naive.ints(b)
    elif isinstance(step, ConvStep):
        window = step.window
        images = values.reshape(step.images, window.height, window.width, window.channels)
        parts = [naive.conv(image, window, weights, step.groups) for image in images]
        out = np.array(parts, object) + naive.ints(b)
    else:
        out = values.reshape(step.shape) * weights + naive.ints(b)
    return naive.ring(out.reshape(-1))


@every
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shares_and_the_missing_product_add_up(step: Weighted, batch: int) -> None:
    size = step.read_sizes[0]
    x, w, b = words(1, batch, size), words(2, *step.weight_shape), words(3, *step.bias_shape)
    masks = words(4, 2, batch, size)
    weight_masks = words(5, 2, *step.weight_shape)
    bias0 = words(6, *step.bias_shape)
    m, m_w = x + masks[0] + masks[1], w + weight_masks[0] + weight_masks[1]
    factors = (m_w - weight_masks[0], np.negative(weight_masks[1]))
    ready = [linear.pack_weights(step, part) for part in (m_w, *factors)]
    weight_mask = linear.pack_weights(step, weight_masks[0] + weight_masks[1])
    total = linear.deal(step, masks[0] + masks[1], weight_mask)
    assert total.shape == (batch * step.size,)
    for j, bias in enumerate((bias0, b - bias0)):
        share = linear.prepare(step, masks[j], ready[0], bias)
        linear.multiply_add(step, m, ready[1 + j], share)
        total = total + share
    expected = [obvious(step, sample, w, b) for sample in x]
    assert below48(total) == [v for sample in expected for v in below48(sample)]


@every
def test_plain_weights_give_the_same(step: Weighted) -> None:
    """Only plain matrix products are worth packing for; these are packed from four columns on."""
    x, w = words(1, step.read_sizes[0]), words(2, *step.weight_shape)
    ready = linear.pack_weights(step, w)
    matrix = isinstance(step, DenseStep) or (isinstance(step, ConvStep) and step.groups == 1)
    assert isinstance(ready, PackedMatrix) == (matrix and w.shape[1] >= 4)
    assert below48(linear.deal(step, x, ready)) == below48(linear.deal(step, x, w))


@every
def test_multiply_add_adds_and_leaves_its_sources_alone(step: Weighted) -> None:
    x, w = words(1, 2, step.read_sizes[0]), words(2, *step.weight_shape)
    out = words(3, 2 * step.size)
    before = (x.copy(), w.copy(), out.copy())
    ready = linear.pack_weights(step, w)
    linear.multiply_add(step, x, ready, out)
    alone = linear.deal(step, x, ready)
    assert below48(out) == below48(before[2] + alone)
    assert np.array_equal(x, before[0])
    assert np.array_equal(w, before[1])


@st.composite
def convolutions(draw: st.DrawFn) -> ConvStep:
    """Grouped, depthwise and plain, at windows that reach over every edge."""
    groups = draw(st.sampled_from([1, 2, 3]))
    channels = groups * draw(st.integers(1, 2))
    kernel, dilation = (draw(st.tuples(st.integers(1, 3), st.integers(1, 2))) for _ in range(2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    window = Window(
        height=draw(st.integers(max(1, spans[0] - padding[0] - padding[1]), 7)),
        width=draw(st.integers(max(1, spans[1] - padding[2] - padding[3]), 7)),
        channels=channels,
        kernel=kernel,
        strides=draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        dilation=dilation,
        padding=padding,
    )
    filters = groups * draw(st.sampled_from([1, 2, 5, 17]))
    images = draw(st.integers(1, 2))
    return ConvStep(source=0, window=window, filters=filters, groups=groups, images=images)


@settings(max_examples=30, deadline=None)
@given(convolutions(), st.integers(0, 2**32))
def test_any_convolution(step: ConvStep, seed: int) -> None:
    x, w = words(seed, step.read_sizes[0]), words(seed + 1, *step.weight_shape)
    expected = obvious(step, x, w, np.zeros(step.bias_shape, np.uint64))
    assert below48(linear.deal(step, x, linear.pack_weights(step, w))) == below48(expected)


@pytest.mark.parametrize(("shape", "factor"), [((6,), (1,)), ((2, 3), (2, 1)), ((2, 3), (2, 3))])
def test_bias(shape: tuple[int, ...], factor: tuple[int, ...]) -> None:
    step = BiasStep(source=0, shape=shape, factor_shape=factor)
    z, b, bias0 = words(1, 3 * step.size), words(2, *factor), words(3, *factor)
    share0 = words(4, z.size)
    total = linear.add_bias(step, share0, bias0) + linear.add_bias(step, z - share0, b - bias0)
    expected = z.reshape(3, *shape) + np.broadcast_to(b, shape)
    assert total.tolist() == expected.reshape(-1).tolist()


def test_product() -> None:
    a, b = words(1, 2, 50), words(2, 2, 50)
    edges = [0, 1, 2**31, 2**32, 2**47, 2**48 - 1, 2**63, 2**64 - 1]
    a[0, :8], b[0, :8] = edges, edges[::-1]
    masks_a, masks_b = words(3, 2, 2, 50), words(4, 2, 2, 50)
    m_a, m_b = a + masks_a[0] + masks_a[1], b + masks_b[0] + masks_b[1]
    total = product.deal(masks_a[0] + masks_a[1], masks_b[0] + masks_b[1])
    for j in (0, 1):
        prepared = product.prepare(masks_a[j], masks_b[j])
        assert prepared.nbytes == 2 * 100 * 8
        assert repr(prepared) == "PreparedProduct(values=100)"
        total = total + product.evaluate(j, m_a, m_b, prepared)
    expected = naive.ints(a) * naive.ints(b)
    assert total.tolist() == naive.ring(expected).reshape(-1).tolist()


def test_square_of_one_value() -> None:
    x, masks = words(1, 9), words(2, 2, 9)
    m = x + masks[0] + masks[1]
    total = product.deal(masks[0] + masks[1], masks[0] + masks[1])
    for j in (0, 1):
        total = total + product.evaluate(j, m, m, product.prepare(masks[j], masks[j]))
    assert np.array_equal(total, x * x)


def test_lift() -> None:
    x, masks = words(1, 2, 9), words(2, 2, 2, 9)
    m = x + masks[0] + masks[1]
    total = lift.deal(18)
    for j in (0, 1):
        total = total + lift.evaluate(j, m, lift.prepare(masks[j]))
    assert np.array_equal(total, x.reshape(-1) << np.uint64(16))


def test_they_cost_nothing() -> None:
    assert linear.cost(99) == product.cost(99) == lift.cost(99) == Cost(0, 0, 0)
    assert linear.macs(STEPS["grouped"], 2) == 2 * math.prod((3, 5)) * 6 * 2 * 6


@pytest.mark.parametrize("words_in_cache", [1, 100, 300, 1000])
@pytest.mark.parametrize("name", ["conv", "wide conv", "conv of images", "grouped"])
def test_blocks_of_rows_and_of_images(
    name: str, words_in_cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "_BLOCK_WORDS", words_in_cache)
    step = STEPS[name]
    x, w = words(1, 3, step.read_sizes[0]), words(2, *step.weight_shape)
    none = np.zeros(step.bias_shape, np.uint64)
    expected = [v for sample in x for v in below48(obvious(step, sample, w, none))]
    assert below48(linear.deal(step, x, linear.pack_weights(step, w))) == expected


def test_sums_over_windows_of_several_images() -> None:
    step = SumPoolStep(source=0, window=WINDOW, images=3)
    x = words(1, 2, step.read_sizes[0])
    images = naive.ints(x).reshape(6, 5, 4, 4)
    expected = np.array([naive.sum_pool(image, WINDOW) for image in images], object)
    assert linear.sum_pool(step, x).tolist() == naive.ring(expected).reshape(-1).tolist()
    assert linear.sum_pool(step, x).size == 2 * step.size
