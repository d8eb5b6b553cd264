"""Labels, scores and counts on shares: what the reference says, at the declared cost."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc import answers, outputs
from libmpc.graph.plan import Plan
from libmpc.graph.reference import run_reference
from libmpc.graph.tail import with_output
from libmpc.protocol import Cost
from libmpc.runtime import Preparer, Simulation, correction_sizes, deal, evaluate, plan_cost
from libmpc.runtime.sizes import prepared_sizes
from libmpc.runtime.warmup import every_tail
from libmpc.shares import split_bits
from tests.graph.test_tail import dense, exactly, some_logits
from tests.runtime.parties import Parties
from tests.runtime.plans import random_inputs, random_weights, tutorial_cnn
from tests.runtime.test_freshness import Use

PINNED = "f1dfd2e2b2849c8150c01837f2989cdccfe5b8ec881ca85bdc365e770194066f"
KINDS = (
    *("label", "topk:1", "topk:2", "topk:16", "scores:16", "scores:7", "scores:0"),
    *("scores:16:-4.0:4.25", "scores:3:-1.5:2.0", "count", "confusion"),
)


def possible(plan: Plan, text: str) -> Plan | None:
    """The variant, if the model is large or small enough for it."""
    kind, classes = outputs.parse(text), plan.output_shape[-1]
    if kind.k > classes or (text == "confusion" and classes > 64):
        return None
    return with_output(plan, kind)


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(st.integers(2, 14), st.integers(2, 140)),
    st.integers(1, 9),
    st.integers(0, 2**32),
    st.sampled_from(KINDS),
    st.sampled_from([0, 2**24]),
)
def test_shares_give_what_numpy_gives(
    classes: int, batch: int, seed: int, text: str, window: int
) -> None:
    logits = some_logits(seed, batch, classes)
    plan, weights, x = exactly(logits)
    variant, kind = possible(plan, text), outputs.parse(text)
    if variant is None:
        return
    labels, digits = None, None
    if kind.takes_labels:
        labels = np.random.default_rng(seed).integers(0, classes, batch)
        labels[::2] = logits[::2].argmax(axis=1)
        digits = answers.label_digits(labels, classes)
    simulation = Simulation(variant, weights, window=window)
    found = simulation.query(x, digits)
    assert np.array_equal(found, run_reference(variant, weights, x, digits))
    if labels is None:
        wanted = answers.plain(kind, np.ldexp(logits.astype(np.float64), -32))
        assert np.array_equal(answers.combine(kind, found, np.zeros_like(found)), wanted)
    elif text == "count":
        assert found[:, 0].tolist() == (logits.argmax(axis=1) == labels).tolist()
    else:
        assert np.array_equal(found.sum(axis=(1, 2)), np.ones(batch))
        assert found[np.arange(batch), labels, logits.argmax(axis=1)].all()
    traffic = simulation.traffic
    assert Cost(traffic.rounds, traffic.sent[0], traffic.corrections) == plan_cost(variant, batch)
    assert traffic.sent[0] == traffic.sent[1]


@pytest.mark.parametrize("text", ["label", "topk:5"])
def test_a_thousand_classes(text: str) -> None:
    logits = some_logits(7, 2, 1000)
    logits[0, [31, 32, 997]] = 2**46 - 1
    plan, weights, x = exactly(logits)
    kind = outputs.parse(text)
    found = Simulation(with_output(plan, kind), weights).query(x)
    wanted = answers.plain(kind, logits.astype(np.float64))
    assert np.array_equal(answers.combine(kind, found, np.zeros_like(found)), wanted)


@pytest.mark.parametrize(
    ("text", "classes", "rounds", "online", "correction"),
    [
        ("logits", 10, 0, 0, 60),
        ("label", 10, 3, 156, 5740),
        ("topk:3", 10, 4, 176, 5180),
        ("count", 10, 4, 157, 5842),
        ("confusion", 10, 4, 157, 7876),
        ("scores:16", 10, 4, 132, 300),
        ("scores:4", 10, 8, 264, 540),
        ("label", 1000, 10, 41_626, 1_776_146),
    ],
)
def test_costs_of_the_documentation(
    text: str, classes: int, rounds: int, online: int, correction: int
) -> None:
    plan = dense(classes)
    cost = plan_cost(with_output(plan, outputs.parse(text)), 1)
    one = plan_cost(plan, 1)
    assert (cost.rounds - one.rounds, cost.online_bytes - one.online_bytes) == (rounds, online)
    assert cost.correction_bytes == correction


def test_a_convolutional_network() -> None:
    plan = with_output(tutorial_cnn(), outputs.parse("label"))
    rng = np.random.default_rng(0)
    weights = random_weights(rng, tutorial_cnn(), inputs=2**16)
    x = rng.integers(0, 2**16, (3, 28, 28, 1), np.int64).view(np.uint64)
    logits = run_reference(tutorial_cnn(), weights, x)
    signed = (logits << np.uint64(16)).view(np.int64) >> 16
    simulation = Simulation(plan, weights)
    found = simulation.query(x)
    assert answers.labels_of(outputs.parse("label"), found).tolist() == signed.argmax(1).tolist()
    assert simulation.traffic.rounds == 16


PLANS = {str(index): plan for index, plan in enumerate(every_tail())}
every = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())


def trio_of(plan: Plan, observers: tuple = (None, None, None)) -> tuple[Parties, np.ndarray, tuple]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    trio = Parties(plan, random_weights(rng, plan, inputs=2**12), observers=observers)
    x = random_inputs(rng, plan, 2, 2**12).view(np.uint64)
    width = plan.label_width
    labels = (None, None) if width is None else split_bits(np.eye(2, width, dtype=np.uint64))
    return trio, x, labels


@every
@pytest.mark.parametrize("window", [None, 0])
def test_draws_are_disjoint_and_the_same_on_both_sides(plan: Plan, window: int | None) -> None:
    uses: tuple[list[Use], ...] = ([], [], [])
    trio, x, labels = trio_of(plan, tuple((lambda *use, to=to: to.append(use)) for to in uses))
    trio.run(x, x, window=window, labels=labels)
    assert all(len(held) == len(set(held)) for held in uses)
    holders = [use for held in uses for use in held]
    assert {holders.count(use) for use in holders} == {2}
    named = [use[:3] for use in set(holders)]  # key, step, purpose
    assert len(named) == len(set(named))
    assert {use[3] for use in holders} == {0}


@every
def test_sizes_are_known_beforehand(plan: Plan) -> None:
    trio, _, _ = trio_of(plan)
    corrections = {index: len(part) for index, part in trio.corrections(3).items()}
    assert corrections == correction_sizes(plan, 3)
    for party in (0, 1):
        preparer: Preparer = trio.preparer(party, 3)
        given = trio.corrections(3) if party else {}
        parts = {i: preparer.step(i, given.get(i)) for i in range(len(plan.steps))}
        sizes = {i: part.nbytes for i, part in parts.items() if part is not None}
        assert sizes == prepared_sizes(plan, 3)


@every
def test_what_leaves_is_rerandomised(plan: Plan) -> None:
    trio, x, labels = trio_of(plan)
    first = trio.run(x, np.zeros_like(x), rerandomise=1, labels=labels)
    second = trio.run(x, np.zeros_like(x), rerandomise=2, labels=labels)
    assert not np.array_equal(first[0], second[0])
    if plan.kinds[-1] == "bits":
        assert np.array_equal(first[0] ^ first[1], second[0] ^ second[1])
    else:
        mask = np.uint64(2**48 - 1)
        assert np.array_equal((first[0] + first[1]) & mask, (second[0] + second[1]) & mask)


@every
def test_every_message_depends_on_fresh_masks(plan: Plan) -> None:
    trio, x, labels = trio_of(plan)
    zero = np.zeros_like(x)
    trio.run(x, zero, labels=labels)
    before = dict(trio.messages)
    for party, keys in ((0, (1, 0)), (1, (0, 1))):
        trio.run(x, zero, keys=keys, labels=labels)
        assert trio.messages.keys() == before.keys()
        for (sender, tag), message in trio.messages.items():
            if sender == party:
                assert message != before[sender, tag]


@every
@pytest.mark.parametrize("offset", [0, 1])
def test_dealt_into_used_memory_wherever_it_begins(
    plan: Plan, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corrections lie one behind the other, and some have an odd number of bytes."""
    trio, x, labels = trio_of(plan)
    wanted = trio.run(x, np.zeros_like(x), labels=labels)
    joined = b"".join(trio.corrections(2).values())
    buffer = np.full(offset + len(joined), 0xA5, np.uint8)
    streams = [trio.stream(party, 0, 2) for party in (0, 1)]
    parts = dict(deal(plan, trio.dealer, 2, *streams, buffer[offset:].data))
    assert buffer[offset:].tobytes() == joined
    monkeypatch.setattr(trio, "corrections", lambda batch, keys: parts)
    for found, share in zip(trio.run(x, np.zeros_like(x), labels=labels), wanted, strict=True):
        assert np.array_equal(found, share)


def test_the_layout_of_streams_is_pinned() -> None:
    """All parties of a deployment must draw alike: another hash is another protocol."""
    transcript = hashlib.sha256()
    for plan in PLANS.values():
        trio, x, _ = trio_of(plan)
        width = plan.label_width
        digits = None if width is None else np.eye(2, width, dtype=np.uint64)
        labels = (None, None) if digits is None else (digits, digits * np.uint64(0))
        shares = trio.run(x, np.zeros_like(x), labels=labels)
        for part in trio.corrections(2).values():
            transcript.update(part)
        for key in sorted(trio.messages):
            transcript.update(trio.messages[key])
        for share in shares:
            transcript.update(share.tobytes())
    assert transcript.hexdigest() == PINNED


def test_bits_are_rerandomised_evenly() -> None:
    plan = with_output(dense(10), outputs.parse("label"))
    rng = np.random.default_rng(0)
    trio = Parties(plan, random_weights(rng, plan, inputs=2**12))
    x = np.tile(random_inputs(rng, plan, 1, 2**12).view(np.uint64), (2000, 1))
    y0, y1 = trio.run(x, np.zeros_like(x))
    assert np.unique((y0 ^ y1).reshape(2000, -1), axis=0).shape == (1, 4)
    assert (abs(y0.reshape(2000, -1).mean(axis=0) - 0.5) < 0.08).all()
    assert set(np.unique(y0)) == {0, 1}


@pytest.mark.parametrize("text", ["label", "count"])
def test_labels_that_do_not_fit_leave_the_bundle_unused(text: str) -> None:
    trio, x, _ = trio_of(with_output(dense(10), outputs.parse(text)))
    bundle, _ = trio.bundles(2)

    async def silent(tag: int, payload: object) -> bytes:
        raise AssertionError("nothing may be sent")

    wrong = [np.zeros((1, 4), np.uint64), np.zeros((2, 3), np.uint64), np.zeros(8, np.uint64)]
    for labels in (*wrong, None if text == "count" else np.zeros((2, 4), np.uint64)):
        with pytest.raises(ValueError, match="labels"):
            asyncio.run(
                evaluate(
                    *(trio.plan, trio.evaluators[0], bundle, x, trio.stream(2, 0, 0), silent),
                    labels=labels,
                )
            )
    bundle.take()
