"""Audits of single bundles: what is checked, and what nobody learns by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from libmpc.graph.plan import Plan
from libmpc.protocol import ProtocolError
from libmpc.protocol.purposes import Purpose
from libmpc.runtime import audit
from libmpc.runtime.warmup import every_step, every_tail
from tests.runtime.parties import Parties
from tests.runtime.plans import random_weights, residual_plan

BATCH = 3
PLANS = {"residual": residual_plan(), "every step": every_step()}
PLANS |= {f"tail {number}": plan for number, plan in enumerate(every_tail())}


class Audited:
    """One bundle and all that its audit needs."""

    def __init__(self, plan: Plan, key: int = 0) -> None:
        weights = random_weights(np.random.default_rng(0), plan, inputs=2**12)
        self.parties = Parties(plan, weights)
        self.plan, self.key = plan, key
        self.corrections = self.parties.corrections(BATCH, (key, key))
        self.vouched = audit.vouch(plan, BATCH, self.parties.stream(0, key, 2))
        self.masks1 = audit.masks(plan, BATCH, self.parties.stream(1, key, 1))
        self.stream0 = audit.Remembered(self.parties.stream(0, key, 0))
        evaluator = self.parties.evaluators[0]
        self.shown = audit.show(plan, evaluator, BATCH, self.stream0, self.masks1)

    def check(self, **changed: Any) -> str:
        given = {"shown": self.shown, "vouched": self.vouched, "corrections": self.corrections}
        stream = audit.Remembered(self.parties.stream(1, self.key, 1))
        return audit.check(
            self.plan, self.parties.evaluators[1], BATCH, stream, **(given | changed)
        )


@pytest.fixture(scope="module", params=PLANS)
def audited(request: pytest.FixtureRequest) -> Audited:
    return Audited(PLANS[request.param])


def test_an_honest_dealer_passes(audited: Audited) -> None:
    assert audited.check() == ""
    assert audit.unpack(audit.pack(audited.shown)) == audited.shown
    assert len(audit.pack(audited.shown)) <= audit.most_bytes(audited.plan, BATCH)
    assert len(audit.pack(audited.masks1)) <= audit.most_bytes(audited.plan, BATCH)


def test_a_wrong_bit_anywhere_is_found(audited: Audited) -> None:
    for step, correction in audited.corrections.items():
        # One in each word and each kind of share; every byte is compared.
        for at in {
            *range(0, len(correction), 61 if len(correction) < 4000 else 997),
            len(correction) - 1,
        }:
            wrong = bytearray(correction)
            wrong[at] ^= 1 << at % 8
            found = audited.check(corrections={**audited.corrections, step: wrong})
            assert found == (
                f"the correction of step {step} ({audited.plan.steps[step].op}) is wrong"
            )


def test_party_0_cannot_show_other_masks_than_the_dealer_vouches_for(audited: Audited) -> None:
    """Else it could guess at party 1's part of the weights, and see whether it was right."""
    for name in audited.shown:
        if name[1] in (Purpose.MASK, Purpose.AUDIT):
            other = bytearray(audited.shown[name])
            other[0] ^= 1
            assert "vouched" in audited.check(shown={**audited.shown, name: bytes(other)})
        less = {n: drawn for n, drawn in audited.shown.items() if n != name}
        assert audited.check(shown=less)
        assert audited.check(shown={**audited.shown, name: audited.shown[name][:-1]})


@pytest.mark.parametrize("name", ["residual", "every step"])
def test_what_covers_the_weights_is_not_shown(name: str) -> None:
    """With γ_0 party 1 would have λ_x·λ_W0 of a known λ_x, and so the weights."""
    audited = Audited(PLANS[name])
    covers = {n: d for n, d in audited.stream0.kept.items() if n[1] in audit.COVERS}
    assert covers
    everything = audit.pack(audited.shown)
    for gamma in covers.values():
        assert gamma not in everything


def test_what_is_shown_of_a_cover_is_uniform() -> None:
    """Over the bundles of one network, whose weights are the same in all of them."""
    shown: dict[int, list[np.ndarray[Any, Any]]] = {}
    for key in range(40):
        for (step, purpose), drawn in Audited(PLANS["residual"], key).shown.items():
            if purpose in audit.COVERS:
                shown.setdefault(step, []).append(np.frombuffer(drawn, np.uint8).reshape(-1, 8))
    assert len(shown) >= 3
    for words in shown.values():
        counts = np.bincount(np.concatenate(words)[:, :6].ravel(), minlength=256)
        mean = counts.sum() / 256
        assert (np.square(counts - mean) / mean).sum() < 255 + 7 * np.sqrt(2 * 255)


@pytest.mark.parametrize("packed", [b"\0" * 9, b"\0" * 5 + b"\1" + b"\0\0\0\1"])
def test_what_is_cut_off_is_refused(packed: bytes) -> None:
    with pytest.raises(ProtocolError):
        audit.unpack(packed)
