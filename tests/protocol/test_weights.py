"""Payloads of the weights: what each party gets adds up, for every kind of linear step."""

from typing import Any

import numpy as np
import pytest

from libmpc.errors import ModelError
from libmpc.graph.plan import (
    AddStep,
    BiasStep,
    ConvStep,
    DenseStep,
    InputStep,
    OutputStep,
    Plan,
    ScaleStep,
    TruncateStep,
    Window,
)
from libmpc.protocol import (
    DealerWeights,
    EncodedWeights,
    EvaluatorWeights,
    payload_bytes,
    share_weights,
)
from libmpc.ring import MASK
from libmpc.ring.matmul import Matrix, PackedMatrix

WINDOW = Window(height=2, width=2, channels=2, kernel=(1, 1))
PLAN = Plan(
    steps=(
        InputStep(shape=(2, 2, 2)),
        ConvStep(source=0, window=WINDOW, filters=2, groups=2),
        ScaleStep(source=0, shape=(2, 2, 2), factor_shape=(1, 1, 2)),
        AddStep(inputs=(1, 2), coefficients=(1, 1), shape=(2, 2, 2)),
        BiasStep(source=3, shape=(2, 2, 2), factor_shape=(2, 1, 2)),
        TruncateStep(source=4, shape=(8,)),
        DenseStep(source=5, rows=2, inputs=4, outputs=5),
        BiasStep(source=6, shape=(10,), factor_shape=(1,)),
        OutputStep(source=7, shape=(10,)),
    )
)
SEEDS = (bytes(range(32)), bytes(range(32, 64)))
WEIGHTS_OF = {1: (1, 2), 2: (1, 1, 2), 4: (0,), 6: (4, 5), 7: (0,)}
BIASES_OF = {1: (2,), 2: (1, 1, 2), 4: (2, 1, 2), 6: (5,), 7: (1,)}


def random(seed: int, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(seed).integers(0, 2**48, shape, np.uint64)


ENCODED: EncodedWeights = {
    i: (random(i, WEIGHTS_OF[i]), random(i + 50, BIASES_OF[i])) for i in WEIGHTS_OF
}
SHARES = share_weights(PLAN, ENCODED, *SEEDS)
EVALUATORS = [EvaluatorWeights.from_payload(PLAN, j, SHARES[j]) for j in (0, 1)]
DEALER = DealerWeights.from_payload(PLAN, SHARES[2])


def plain(weights: Matrix) -> Any:
    return weights.unpack() if isinstance(weights, PackedMatrix) else weights


def test_matrices_are_kept_ready_for_products() -> None:
    zero, one = (evaluator.steps for evaluator in EVALUATORS)
    for index in ENCODED:
        for held in (zero[index].masked, one[index].factor, DEALER.masks[index]):
            assert isinstance(held, PackedMatrix) == (index == 6)


def test_parts_add_up() -> None:
    zero, one = EVALUATORS
    assert list(zero.steps) == list(one.steps) == list(DEALER.masks) == list(ENCODED)
    for index, (w, b) in ENCODED.items():
        first, second = zero.steps[index], one.steps[index]
        assert first.masked.shape == w.shape
        assert first.bias.shape == b.shape
        masked, mask = plain(first.masked), plain(DEALER.masks[index])
        assert np.array_equal(masked, plain(second.masked))
        assert np.array_equal((masked - mask) & MASK, w)
        assert np.array_equal((plain(first.factor) + plain(second.factor)) & MASK, w)
        assert np.array_equal((first.bias + second.bias) & MASK, b)


def test_sizes_are_the_declared_ones() -> None:
    weights, biases = 2 + 2 + 20, 2 + 2 + 4 + 5 + 1
    assert payload_bytes(PLAN, 0) == 32 + 6 * weights
    assert payload_bytes(PLAN, 1) == 32 + 6 * (weights + biases)
    assert payload_bytes(PLAN, 2) == 64
    assert [len(SHARES[j]) for j in (0, 1, 2)] == [payload_bytes(PLAN, j) for j in (0, 1, 2)]


def test_one_payload_depends_on_the_weights_through_masks_only() -> None:
    """Under the same seeds two networks' payloads differ by the difference of their weights."""
    others = {i: (w + np.uint64(1), b + np.uint64(2)) for i, (w, b) in ENCODED.items()}
    again = share_weights(PLAN, others, *SEEDS)
    assert again[2] == SHARES[2]
    other = [EvaluatorWeights.from_payload(PLAN, j, again[j]) for j in (0, 1)]
    for index in ENCODED:
        moved = plain(other[0].steps[index].masked) - plain(EVALUATORS[0].steps[index].masked)
        assert ((moved & MASK) == 1).all()
        assert np.array_equal(other[0].steps[index].bias, EVALUATORS[0].steps[index].bias)


@pytest.mark.parametrize("party", [0, 1, 2])
@pytest.mark.parametrize("difference", [-1, 1])
def test_payloads_of_another_length_are_refused(party: int, difference: int) -> None:
    payload = bytes(len(SHARES[party]) + difference)
    with pytest.raises(ModelError, match="push again"):
        if party == 2:
            DealerWeights.from_payload(PLAN, payload)
        else:
            EvaluatorWeights.from_payload(PLAN, party, payload)


def test_only_evaluators_are_parties_0_and_1() -> None:
    with pytest.raises(ValueError, match="parties 0 and 1"):
        EvaluatorWeights.from_payload(PLAN, 2, SHARES[2])


@pytest.mark.parametrize("index", WEIGHTS_OF)
def test_weights_that_do_not_fit_are_refused(index: int) -> None:
    w, b = ENCODED[index]
    none = {i: pair for i, pair in ENCODED.items() if i != index}
    signed = (w.astype(np.int64), b) if w.size else (w, b.astype(np.int64))
    for wrong, match in (
        (none, "other linear steps"),
        ({**ENCODED, index: (np.zeros((*w.shape, 2), np.uint64), b)}, f"step {index} takes"),
        ({**ENCODED, index: (w, b.reshape(-1)[1:])}, f"step {index} takes"),
        ({**ENCODED, index: signed}, f"step {index}: encode"),
    ):
        with pytest.raises(ModelError, match=match):
            share_weights(PLAN, wrong, *SEEDS)


def test_nothing_prints_a_value() -> None:
    assert repr(SHARES) == f"WeightShares(bytes={len(SHARES[0])}, {len(SHARES[1])}, 64)"
    assert repr(EVALUATORS[0]) == "EvaluatorWeights(party=0, steps=[1, 2, 4, 6, 7])"
    assert repr(EVALUATORS[0].steps[6]) == "LinearWeights(shape=(4, 5))"
    assert repr(DEALER) == "DealerWeights(steps=[1, 2, 4, 6, 7])"
