"""Bundles that are prepared while they are used: order, window, credit, ends of every sort."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.graph.plan import DenseStep, InputStep, OutputStep, Plan, ReluStep
from libmpc.graph.reference import run_reference
from libmpc.prg import MaskReuseError
from libmpc.protocol import Payload, ProtocolError
from libmpc.runtime import (
    Simulation,
    StreamedBundle,
    correction_sizes,
    evaluate,
    prepared_sizes,
)
from tests.runtime.parties import Parties
from tests.runtime.plans import random_plan, random_weights, residual_plan

PLAN = residual_plan()
BATCH = 2


def trio_of(plan: Plan = PLAN) -> Parties:
    return Parties(plan, random_weights(np.random.default_rng(0), plan))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """In an event loop that ends; nothing here may hang."""
    asyncio.run(asyncio.wait_for(test(), 20))


async def idle() -> None:
    """Until nothing is left to do but wait."""
    for _ in range(200):
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 20_000), st.sampled_from([0, 1]))
def test_no_more_than_the_window_is_held(seed: int, window: int, party: int) -> None:
    plan = random_plan(np.random.default_rng(seed))
    trio = trio_of(plan)
    sizes, expected = prepared_sizes(plan, BATCH), correction_sizes(plan, BATCH)
    given_corrections = trio.corrections(BATCH)
    most = max(window, *sizes.values())
    asked: list[int] = []
    used: list[int] = []

    async def test() -> None:
        async def correction(step: int) -> Payload:
            asked.append(step)
            assert bundle.nbytes <= most
            return given_corrections[step]

        bundle = StreamedBundle(
            trio.preparer(party, BATCH),
            window=window,
            corrections=correction if party == 1 else None,
            used=used.append,
        )
        randomness = bundle.take()
        for index in range(len(plan.steps)):
            part = await randomness.take(index)
            assert (None if part is None else part.nbytes) == sizes.get(index)
            assert bundle.nbytes <= most
            assert used == [step for step in sizes if step < index]
            randomness.used(index)
        assert bundle.nbytes == 0
        await bundle.aclose()

    run(test)
    assert used == list(sizes)
    assert asked == (list(expected) if party == 1 else [])


def test_it_goes_ahead_as_far_as_the_window_allows() -> None:
    trio = trio_of()
    sizes = prepared_sizes(PLAN, BATCH)
    corrections = trio.corrections(BATCH)
    asked: list[int] = []

    async def correction(step: int) -> Payload:
        asked.append(step)
        return corrections[step]

    async def test() -> None:
        window = sum(size for step, size in sizes.items() if step <= 6)
        bundle = StreamedBundle(trio.preparer(1, BATCH), window=window, corrections=correction)
        await idle()
        assert bundle.nbytes == window
        assert asked == [2, 6]
        assert repr(bundle) == "<StreamedBundle of party 1, batch 2, unused>"
        randomness = bundle.take()
        assert repr(randomness) == "<randomness of steps [0, 1, 2, 3, 4, 6]>"
        for step in range(3):
            await randomness.take(step)
            randomness.used(step)
        await idle()
        assert asked == [2, 6, 8]
        await bundle.aclose()
        assert bundle.nbytes == 0

    run(test)


def test_it_is_good_for_one_run() -> None:
    trio = trio_of()

    async def test() -> None:
        bundle = StreamedBundle(trio.preparer(0, BATCH), window=0)
        bundle.take()
        with pytest.raises(MaskReuseError):
            bundle.take()
        await bundle.aclose()
        closed = StreamedBundle(trio.preparer(0, BATCH), window=0)
        await closed.aclose()
        await closed.aclose()
        with pytest.raises(MaskReuseError):
            closed.take()

    run(test)


def test_corrections_are_for_party_1() -> None:
    trio = trio_of()

    async def never(step: int) -> Payload:
        raise AssertionError

    async def test() -> None:
        with pytest.raises(ValueError, match="party 1"):
            StreamedBundle(trio.preparer(0, BATCH), window=0, corrections=never)
        with pytest.raises(ValueError, match="party 1"):
            StreamedBundle(trio.preparer(1, BATCH), window=0)

    run(test)


async def start(trio: Parties, bundle: StreamedBundle) -> np.ndarray:
    """Party 1's run, against an evaluator that echoes."""

    async def echo(tag: int, payload: Payload) -> Payload:
        return bytes(payload)

    x = np.zeros((BATCH, *PLAN.input_shape), np.uint64)
    return await evaluate(PLAN, trio.evaluators[1], bundle, x, trio.stream(2, 0, 1), echo)


@pytest.mark.parametrize("failing", [2, 9, 13])
def test_a_dealer_that_fails_ends_the_run(failing: int) -> None:
    trio = trio_of()
    corrections = trio.corrections(BATCH)

    async def correction(step: int) -> Payload:
        if step == failing:
            raise ConnectionError("the dealer is gone")
        return corrections[step]

    async def test() -> None:
        for window in (0, 1 << 20):
            bundle = StreamedBundle(trio.preparer(1, BATCH), window=window, corrections=correction)
            with pytest.raises(ConnectionError, match="gone"):
                await start(trio, bundle)
            with pytest.raises(MaskReuseError):
                bundle.take()
            assert bundle.nbytes == 0

    run(test)


def test_a_correction_of_another_length_ends_the_run() -> None:
    trio = trio_of()
    corrections = trio.corrections(BATCH)

    async def correction(step: int) -> Payload:
        return corrections[step][:-1] if step == 6 else corrections[step]

    async def test() -> None:
        bundle = StreamedBundle(trio.preparer(1, BATCH), window=0, corrections=correction)
        with pytest.raises(ProtocolError):
            await start(trio, bundle)

    run(test)


def test_closing_ends_a_run_that_waits() -> None:
    trio = trio_of()
    waiting = asyncio.Event()

    async def correction(step: int) -> Payload:
        waiting.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def test() -> None:
        bundle = StreamedBundle(trio.preparer(1, BATCH), window=0, corrections=correction)
        task = asyncio.create_task(start(trio, bundle))
        await waiting.wait()
        await bundle.aclose()
        with pytest.raises(MaskReuseError, match="closed"):
            await task

    run(test)


def test_cancelling_a_run_stops_the_preparation() -> None:
    trio = trio_of()
    used: list[int] = []
    corrections = trio.corrections(BATCH)
    waiting = asyncio.Event()

    async def correction(step: int) -> Payload:
        if step == 8:
            waiting.set()
            await asyncio.Event().wait()
        return corrections[step]

    async def test() -> None:
        bundle = StreamedBundle(
            trio.preparer(1, BATCH), window=1 << 20, corrections=correction, used=used.append
        )
        task = asyncio.create_task(start(trio, bundle))
        await waiting.wait()
        await idle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bundle.nbytes == 0
        assert len(asyncio.all_tasks()) == 2  # this one and its time limit

    run(test)
    assert used == [0, 1, 2, 3, 4, 6, 7]


def test_a_bundle_that_fails_and_is_never_run_is_closed_without_noise() -> None:
    trio = trio_of()

    async def correction(step: int) -> Payload:
        raise ConnectionError

    async def test() -> None:
        bundle = StreamedBundle(trio.preparer(1, BATCH), window=0, corrections=correction)
        await idle()
        await bundle.aclose()

    run(test)


def test_memory_does_not_grow_with_depth() -> None:
    """A network whose preprocessing is many times what a run may hold of it."""
    width, layers = 8_192, 24
    steps: list[Any] = [InputStep(shape=(width,))]
    for _ in range(layers):
        rows = DenseStep(source=len(steps) - 1, rows=width // 4, inputs=4, outputs=4)
        steps += [rows, ReluStep(source=len(steps), shape=(width,))]
    steps.append(DenseStep(source=len(steps) - 1, inputs=width, outputs=1))
    steps.append(OutputStep(source=len(steps) - 1, shape=(1,)))
    plan = Plan(steps=tuple(steps))
    whole = sum(prepared_sizes(plan, 1).values())
    layer = whole // layers
    simulation = Simulation(
        plan, weights := random_weights(np.random.default_rng(0), plan), window=0
    )
    x = np.random.default_rng(1).integers(0, 2**20, (1, width), np.uint64)
    tracemalloc.start()
    y = simulation.query(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(y, run_reference(plan, weights, x))
    assert peak < 8 * layer < whole / 2
