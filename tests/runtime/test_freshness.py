"""The rules that keep masks fresh, as far as they concern one run."""

import asyncio
import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.plan import Plan
from libmpc.prg import MaskReuseError, Observer
from libmpc.protocol import Payload
from libmpc.runtime import evaluate
from libmpc.runtime.warmup import every_step
from tests.runtime.parties import Parties
from tests.runtime.plans import (
    random_inputs,
    random_plan,
    random_weights,
    residual_plan,
    small_plan,
)

MASK = np.uint64(2**48 - 1)
PLANS = {"chain": small_plan(), "residual": residual_plan(), "every step": every_step()}
PINNED = "70ea2a383dc9a1defb6d4baa868cae0939d0ed52ce020589c63fca703bd1f3ca"
Use = tuple[bytes, int, int, int, int]


def parties(
    plan: Plan | None = None, observers: tuple[Observer | None, ...] = (None, None, None)
) -> tuple[Parties, np.ndarray]:
    plan = small_plan() if plan is None else plan
    rng = np.random.default_rng(0)
    weights = random_weights(rng, plan, inputs=2**12)
    return Parties(plan, weights, observers=observers), random_inputs(rng, plan, 2, 2**12).view(
        np.uint64
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([None, 0, 4096]))
def test_draws_are_disjoint_and_the_same_on_both_sides(seed: int, window: int | None) -> None:
    check_draws(random_plan(np.random.default_rng(seed)), window)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
@pytest.mark.parametrize("window", [None, 0])
def test_draws_of_known_plans(plan: Plan, window: int | None) -> None:
    check_draws(plan, window)


def check_draws(plan: Plan, window: int | None) -> None:
    uses: tuple[list[Use], ...] = ([], [], [])
    observers = tuple((lambda *use, to=to: to.append(use)) for to in uses)
    trio, x = parties(plan, observers)
    trio.run(x, x, window=window)
    by_holder = [Counter(held) for held in uses]
    assert all(held.values() and max(held.values()) == 1 for held in by_holder)
    # Every draw is made by exactly the two that have its key in common.
    holders = Counter(use for held in uses for use in held)
    assert set(holders.values()) == {2}
    keys = {use[0] for use in holders}
    assert len(keys) == 3
    # Ranges of counter blocks under one key do not overlap.
    blocks: set[tuple[bytes, int, int, int]] = set()
    for key, layer, purpose, first, count in holders:
        for block in range(first, first + count):
            assert (key, layer, purpose, block) not in blocks
            blocks.add((key, layer, purpose, block))


def test_a_bundle_is_good_for_one_run() -> None:
    trio, x = parties()
    bundle, _ = trio.bundles(2)

    async def silent(tag: int, payload: Payload) -> Payload:
        raise ConnectionError

    def attempt() -> None:
        asyncio.run(
            evaluate(trio.plan, trio.evaluators[0], bundle, x, trio.stream(2, 0, 0), silent)
        )

    with pytest.raises(ConnectionError):
        attempt()
    with pytest.raises(MaskReuseError):
        attempt()
    assert "used" in repr(bundle)


def test_only_one_of_many_threads_gets_a_bundle() -> None:
    trio, _ = parties()
    bundle, _ = trio.bundles(2)

    def take(_: int) -> bool:
        try:
            bundle.take()
        except MaskReuseError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(64))) == 1


def test_a_query_that_does_not_fit_leaves_the_bundle_unused() -> None:
    trio, x = parties()
    bundle, other = trio.bundles(2)

    async def silent(tag: int, payload: Payload) -> Payload:
        raise AssertionError("nothing may be sent")

    wrong = [
        (trio.plan, bundle, x[:1]),
        (trio.plan, bundle, x.reshape(2, -1)),
        (trio.plan, bundle, x.astype(np.int64)),
        (trio.plan, other, x),
        (random_plan(np.random.default_rng(3)), bundle, x),
    ]
    for plan, offered, share in wrong:
        with pytest.raises(ValueError, match="plan"):
            asyncio.run(
                evaluate(plan, trio.evaluators[0], offered, share, trio.stream(2, 0, 0), silent)
            )
    bundle.take()


def test_what_leaves_is_rerandomised() -> None:
    trio, x = parties()
    first = trio.run(x, np.zeros_like(x), rerandomise=1)
    second = trio.run(x, np.zeros_like(x), rerandomise=2)
    assert np.array_equal((first[0] + first[1]) & MASK, (second[0] + second[1]) & MASK)
    difference = (first[0] - second[0]) & MASK
    assert np.unique(difference).size == difference.size
    assert all((share <= MASK).all() for share in (*first, *second))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_every_message_depends_on_fresh_masks(plan: Plan) -> None:
    """The same query under another key with the dealer: no message of that party stays."""
    trio, x = parties(plan)
    zero = np.zeros_like(x)
    trio.run(x, zero)
    before = dict(trio.messages)
    for party, keys in ((0, (1, 0)), (1, (0, 1))):
        trio.run(x, zero, keys=keys)
        assert trio.messages.keys() == before.keys()
        for (sender, tag), message in trio.messages.items():
            if sender == party:
                assert message != before[sender, tag]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_messages_of_a_party_hide_its_share_of_the_input(plan: Plan) -> None:
    """Moving the input between the shares changes no opened value, only the two halves."""
    trio, x = parties(plan)
    zero = np.zeros_like(x)
    y = trio.run(x, zero)
    opened = {tag: _open(trio, tag) for _, tag in trio.messages if _has_words(plan, tag)}
    z = trio.run(zero, x)
    assert len(opened) >= 3
    assert all(np.array_equal(_open(trio, tag), values) for tag, values in opened.items())
    assert np.array_equal((y[0] + y[1]) & MASK, (z[0] + z[1]) & MASK)


def _has_words(plan: Plan, tag: int) -> bool:
    """Whether ring elements are opened in this round, and not bits."""
    rounds = {"input": (0,), "rectify": (2,), "positive": (2,)}
    return tag % 8 in rounds.get(plan.steps[tag // 8].op, (0, 3))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_no_two_messages_have_the_same_masks(seed: int) -> None:
    """A value that several steps open or make anew is never seen twice under one mask."""
    plan = random_plan(np.random.default_rng(seed))
    trio, x = parties(plan)
    trio.run(x, np.zeros_like(x))
    words = [_open(trio, tag) for party, tag in trio.messages if party and _has_words(plan, tag)]
    seen = np.concatenate(words)
    assert np.unique(seen).size == seen.size


def _open(trio: Parties, tag: int) -> np.ndarray:
    halves = [
        np.frombuffer(trio.messages[party, tag], np.uint8).reshape(-1, 6).astype(np.uint64)
        @ (np.uint64(1) << np.arange(0, 48, 8, dtype=np.uint64))
        for party in (0, 1)
    ]
    return (halves[0] + halves[1]) & MASK


@pytest.mark.parametrize("window", [None, 0])
def test_the_layout_of_streams_is_pinned(window: int | None) -> None:
    """All parties of a deployment must draw alike: another hash is another plan version."""
    trio, x = parties(every_step())
    corrections = trio.corrections(2)
    outputs = trio.run(x, np.zeros_like(x), window=window)
    transcript = hashlib.sha256()
    for part in (trio.shares.party0, trio.shares.party1, *corrections.values()):
        transcript.update(part)
    for key in sorted(trio.messages):
        transcript.update(trio.messages[key])
    for share in outputs:
        transcript.update(share.tobytes())
    assert transcript.hexdigest() == PINNED
