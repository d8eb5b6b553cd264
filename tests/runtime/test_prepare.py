"""Corrections, payloads and what is printed of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.errors import ModelError
from libmpc.protocol import (
    DealerWeights,
    EvaluatorWeights,
    ProtocolError,
    payload_bytes,
    share_weights,
)
from libmpc.ring import unpack
from libmpc.ring.matmul import Matrix, PackedMatrix
from libmpc.runtime import correction_sizes, prepare, prepared_sizes
from libmpc.runtime.warmup import every_step
from tests.runtime.parties import Parties
from tests.runtime.plans import random_plan, random_weights, small_plan

MASK = np.uint64(2**48 - 1)
PLAN = small_plan()
WEIGHTS = random_weights(np.random.default_rng(0), PLAN)


def test_the_dealer_deals_what_was_declared() -> None:
    trio = Parties(PLAN, WEIGHTS)
    sizes = {index: len(part) for index, part in trio.corrections(3).items()}
    assert sizes == correction_sizes(PLAN, 3)
    assert list(sizes) == sorted(sizes)


def test_corrections_of_another_form_are_refused() -> None:
    trio = Parties(PLAN, WEIGHTS)
    good = {index: bytes(part) for index, part in trio.corrections(2).items()}
    bad = [None, {}, {**good, 4: b""}, {3: good[3]}, {**good, 3: good[3][:-1]}]
    bad += [{**good, 5: good[5] + b"\0"}, trio.corrections(3)]
    for corrections in bad:
        with pytest.raises(ProtocolError):
            prepare(PLAN, trio.evaluators[1], 2, trio.stream(1, 0, 1), corrections)
    with pytest.raises(ProtocolError):
        prepare(PLAN, trio.evaluators[0], 2, trio.stream(0, 0, 0), good)
    views = {index: memoryview(b"x" + part)[1:] for index, part in good.items()}
    prepare(PLAN, trio.evaluators[1], 2, trio.stream(1, 0, 1), views)


def test_a_bundle_knows_its_size() -> None:
    trio = Parties(PLAN, WEIGHTS)
    for bundle in trio.bundles(2):
        # input 80, linear 72 + 10, output 10 words; ReLU 72 · (82 + 2 bytes, 1 word), 2 · 9 bytes.
        assert bundle.nbytes == 8 * 80 + 8 * 92 + 72 * (82 + 2 + 8) + 18


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9))
def test_sizes_are_known_beforehand(seed: int, batch: int) -> None:
    plan = random_plan(np.random.default_rng(seed))
    trio = Parties(plan, random_weights(np.random.default_rng(seed), plan))
    corrections = trio.corrections(batch)
    for party in (0, 1):
        preparer = trio.preparer(party, batch)
        parts = [
            preparer.step(index, corrections.get(index) if party == 1 else None)
            for index in range(len(plan.steps))
        ]
        sizes = {index: part.nbytes for index, part in enumerate(parts) if part is not None}
        assert sizes == prepared_sizes(plan, batch)
        assert trio.bundles(batch)[party].nbytes == sum(sizes.values())


@pytest.mark.parametrize("party", [0, 1])
def test_a_step_takes_its_correction_and_no_other(party: int) -> None:
    trio = Parties(PLAN, WEIGHTS)
    corrections = trio.corrections(2)
    for stop in range(len(PLAN.steps)):
        preparer = trio.preparer(party, 2)
        right = [corrections.get(i) if party == 1 else None for i in range(stop + 1)]
        for index in range(stop):
            preparer.step(index, right[index])
        wrong = b"1234" if right[stop] is None else None
        with pytest.raises(ProtocolError):
            preparer.step(stop, wrong)
        preparer.step(stop, right[stop])  # nothing was drawn in vain


def test_steps_are_prepared_in_order() -> None:
    preparer = Parties(PLAN, WEIGHTS).preparer(0, 2)
    assert repr(preparer) == "<Preparer of party 0, batch 2, at step 0>"
    for wrong in (1, 5):
        with pytest.raises(ValueError, match="step 0"):
            preparer.step(wrong)
    preparer.step(0)
    with pytest.raises(ValueError, match="step 1"):
        preparer.step(0)


def plain(weights: Matrix) -> np.ndarray:
    return weights.unpack() if isinstance(weights, PackedMatrix) else weights


def test_shares_of_weights() -> None:
    shares = share_weights(PLAN, WEIGHTS, bytes([1]) * 32, bytes([2]) * 32)
    assert len(shares[2]) == 64
    assert shares[2] == shares[0][:32] + shares[1][:32]
    assert [len(shares[j]) for j in range(3)] == [payload_bytes(PLAN, j) for j in range(3)]
    count = 8 * 3 + 36 * 5
    assert shares[0][32:] == shares[1][32 : 32 + 6 * count]
    evaluators = [EvaluatorWeights.from_payload(PLAN, j, shares[j]) for j in (0, 1)]
    dealer = DealerWeights.from_payload(PLAN, shares[2])
    for index, (w, b) in WEIGHTS.items():
        zero, one = (evaluator.steps[index] for evaluator in evaluators)
        masked, mask = plain(zero.masked), plain(dealer.masks[index])
        assert np.array_equal((masked - mask) & MASK, w & MASK)
        assert np.array_equal((plain(zero.factor) + plain(one.factor)) & MASK, w & MASK)
        assert np.array_equal((zero.bias + one.bias) & MASK, b & MASK)
    masked = unpack(shares[0][32:], count)
    assert np.unique(masked).size == count


def test_other_seeds_give_other_shares() -> None:
    first = share_weights(PLAN, WEIGHTS, bytes([1]) * 32, bytes([2]) * 32)
    second = share_weights(PLAN, WEIGHTS, bytes([1]) * 32, bytes([3]) * 32)
    assert first[0][32:] != second[0][32:]


@pytest.mark.parametrize("difference", [-1, 1])
def test_payloads_of_the_wrong_size(difference: int) -> None:
    shares = share_weights(PLAN, WEIGHTS, bytes([1]) * 32, bytes([2]) * 32)
    for party in range(3):
        wrong = shares[party][:-1] if difference < 0 else shares[party] + b"\0"
        with pytest.raises(ModelError, match="push again"):
            if party == 2:
                DealerWeights.from_payload(PLAN, wrong)
            else:
                EvaluatorWeights.from_payload(PLAN, party, wrong)


def test_weights_that_do_not_fit() -> None:
    w, b = WEIGHTS[2]
    bad = [
        {4: WEIGHTS[4]},
        {**WEIGHTS, 2: (w.T, b)},
        {**WEIGHTS, 2: (w, b[:-1])},
        {**WEIGHTS, 2: (w.astype(np.float64), b)},
    ]
    for weights in bad:
        with pytest.raises(ModelError):
            share_weights(PLAN, weights, bytes(32), bytes(32))  # type: ignore[arg-type]


def test_nothing_prints_a_value() -> None:
    trio = Parties(PLAN, WEIGHTS)
    bundle = trio.bundles(1)[0]
    texts = [
        repr(trio.shares),
        repr(trio.evaluators[0]),
        repr(trio.evaluators[0].steps[2]),
        repr(trio.dealer),
        repr(bundle),
        repr(bundle.take()),
    ]
    assert texts == [
        f"WeightShares(bytes={payload_bytes(PLAN, 0)}, {payload_bytes(PLAN, 1)}, 64)",
        "EvaluatorWeights(party=0, steps=[2, 4])",
        "LinearWeights(shape=(8, 3))",
        "DealerWeights(steps=[2, 4])",
        "<PreparedBundle of party 0, batch 1, unused>",
        "Randomness(steps=[0, 2, 3, 4, 5])",
    ]


def test_nothing_prints_a_value_of_any_step() -> None:
    plan = every_step()
    trio = Parties(plan, random_weights(np.random.default_rng(0), plan, inputs=2**12))
    preparer = trio.preparer(0, 1)
    parts = [preparer.step(index) for index in range(len(plan.steps))]
    texts = {repr(part) for part in parts if not isinstance(part, np.ndarray | None)}
    assert texts == {
        "PreparedOpening(PreparedRelu(values=18))",
        "PreparedOpening(PreparedTruncate(values=18))",
        "PreparedPositive(values=18)",
        "PreparedProduct(values=18)",
        "PreparedRectify(values=18)",
    }
