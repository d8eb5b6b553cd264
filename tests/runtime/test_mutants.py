"""Changes that look innocent: each is noticed, by a refusal of the stream or by a wrong answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from libmpc.graph.plan import Plan, SumPoolStep
from libmpc.graph.reference import run_reference
from libmpc.prg import MaskReuseError
from libmpc.protocol import input as input_step
from libmpc.protocol import lift, opening, output
from libmpc.protocol.purposes import Purpose
from libmpc.runtime import dealer, moves, preparer
from libmpc.runtime.warmup import every_step
from tests.runtime.parties import Parties
from tests.runtime.plans import random_inputs, random_weights, residual_plan

Patch = Callable[[pytest.MonkeyPatch], None]
PLANS = {"residual": residual_plan(), "every step": every_step()}


def one_mask_for_all_openings(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        opening, "draw", lambda step, count, stream: stream.words(0, Purpose.OPENING, count)
    )


def opening_under_the_mask_of_the_result(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        opening, "draw", lambda step, count, stream: stream.words(step, Purpose.MASK, count)
    )


def early_mask_for_every_reader(patch: pytest.MonkeyPatch) -> None:
    """The prepared share of a value that is opened twice has the mask of one opening."""

    def all_of_them(plan: Plan) -> dict[int, int]:
        opened = {
            step.source: index
            for index, step in enumerate(plan.steps)
            if step.op in ("relu", "truncate")
        }
        ops = ("dense", "conv", "scale", "lift")
        return {s: reader for s, reader in opened.items() if plan.steps[s].op in ops}

    patch.setattr(preparer, "early_openings", all_of_them)


def no_early_mask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preparer.Preparer, "_opened", lambda self, index, share: share)


def padding_of_masks(patch: pytest.MonkeyPatch) -> None:
    """One who puts the constant into masks, too, takes it away from the value."""
    apply = moves.apply

    def filled(step: Any, batch: int, sources: Sequence[Any], *, fill: bool) -> Any:
        return apply(step, batch, sources, fill=True)

    patch.setattr(preparer.moves, "apply", filled)


def dealer_without_party_1(patch: pytest.MonkeyPatch) -> None:
    draw = input_step.draw_mask

    def half(step: int, count: int, stream: Any) -> Any:
        return draw(step, count, stream) * np.uint64(2)

    patch.setattr(dealer, "input_step", SimpleNamespace(draw_mask=half))


def lift_without_the_mask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lift, "prepare", lambda mask: np.zeros(mask.size, np.uint64))


def output_without_the_missing_part(patch: pytest.MonkeyPatch) -> None:
    deal = output.deal
    patch.setattr(output, "deal", lambda step, d, *rest: deal(step, np.zeros_like(d), *rest))


def pool_of_the_masked_value_only(patch: pytest.MonkeyPatch) -> None:
    apply = moves.apply

    def pooled(step: Any, batch: int, sources: Sequence[Any], *, fill: bool) -> Any:
        result = apply(step, batch, sources, fill=fill)
        return result if fill or not isinstance(step, SumPoolStep) else np.zeros_like(result)

    patch.setattr(preparer.moves, "apply", pooled)


@pytest.mark.parametrize(
    ("mutant", "name"),
    [
        (one_mask_for_all_openings, "residual"),
        (opening_under_the_mask_of_the_result, "residual"),
        (early_mask_for_every_reader, "residual"),
        (no_early_mask, "residual"),
        (padding_of_masks, "every step"),
        (dealer_without_party_1, "residual"),
        (lift_without_the_mask, "residual"),
        (output_without_the_missing_part, "residual"),
        (pool_of_the_masked_value_only, "every step"),
    ],
)
def test_is_noticed(mutant: Patch, name: str) -> None:
    rng = np.random.default_rng(0)
    plan = PLANS[name]
    weights = random_weights(rng, plan, inputs=2**12)
    x = random_inputs(rng, plan, 2, 2**12).view(np.uint64)
    expected = run_reference(plan, weights, x)
    zero = np.zeros_like(x)

    def answer() -> np.ndarray:
        y0, y1 = Parties(plan, weights).run(x, zero)
        return (y0 + y1) % np.uint64(2**48)

    assert np.array_equal(answer(), expected)
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        try:
            assert not np.array_equal(answer(), expected)
        except MaskReuseError:
            assert mutant in (one_mask_for_all_openings, opening_under_the_mask_of_the_result)
