"""Innocent-looking changes of one production function each; every one gives something away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from libmpc import shares
from libmpc.party import keys, rounds
from libmpc.prg import Stream
from libmpc.protocol import input as input_step
from libmpc.protocol import opening, output, shared_bits
from libmpc.protocol.purposes import Purpose
from libmpc.ring.packing import MASK
from tests.privacy.recording import LEAVING, replace

Mutant = Callable[[pytest.MonkeyPatch], None]


def _names(patch: pytest.MonkeyPatch, rename: Callable[[int, int], tuple[int, int]]) -> None:
    """``Stream.fill``, with the bytes of another draw; who looks for a second draw sees none."""
    fill = Stream.fill

    def renamed(self: Stream, layer: int, purpose: int, out: Any) -> None:
        drawn = set(self._drawn)
        self._drawn.clear()
        fill(self, *rename(layer, purpose), out)
        self._drawn |= drawn

    patch.setattr(Stream, "fill", renamed)


def reuse_a_mask_for_two_values(patch: pytest.MonkeyPatch) -> None:
    _names(patch, lambda layer, purpose: (0 if purpose == Purpose.MASK else layer, purpose))


def open_under_the_mask_of_the_result(patch: pytest.MonkeyPatch) -> None:
    _names(patch, lambda layer, p: (layer, Purpose.MASK if p == Purpose.OPENING else p))


def use_the_dealers_random_value_for_two_steps(patch: pytest.MonkeyPatch) -> None:
    def rename(layer: int, purpose: int) -> tuple[int, int]:
        return (2, Purpose.RELU_SHARES) if purpose == Purpose.OUTPUT else (layer, purpose)

    _names(patch, rename)


def restart_the_key_stream_at_each_draw(patch: pytest.MonkeyPatch) -> None:
    _names(patch, lambda layer, purpose: (0, 0))


def restart_the_key_stream_for_each_bundle(patch: pytest.MonkeyPatch) -> None:
    make = keys.bundle_stream

    def same(secret: bytes, epoch: bytes, purpose: str, model: str, bundle: int) -> Stream:
        return make(secret, epoch, purpose, model, 1)

    replace(patch, make, same)


def repeat_the_rerandomisation(patch: pytest.MonkeyPatch) -> None:
    make = keys.bundle_stream

    def same(secret: bytes, epoch: bytes, purpose: str, model: str, bundle: int) -> Stream:
        return make(secret, epoch, purpose, model, 1 if purpose == LEAVING else bundle)

    replace(patch, make, same)


def skip_the_rerandomisation(patch: pytest.MonkeyPatch) -> None:
    def skipped(step: int, party: int, share: Any, stream: Stream) -> Any:
        return share & MASK

    patch.setattr(output, "rerandomise", skipped)


def rerandomise_all_rows_alike(patch: pytest.MonkeyPatch) -> None:
    def alike(step: int, party: int, share: Any, stream: Stream) -> Any:
        r = stream.words(step, Purpose.RERANDOMISE, share[0].size).reshape(share[0].shape)
        return (share + r if party == 0 else share - r) & MASK

    patch.setattr(output, "rerandomise", alike)


def send_a_step_again(patch: pytest.MonkeyPatch) -> None:
    exchange = rounds.Run.exchange

    async def again(self: rounds.Run, tag: int, payload: Any) -> Any:
        if tag == 0:
            other = np.array(payload, copy=True)
            other += np.uint16(1)  # as of another input
            self.post(self.bundle, tag, other)
        return await exchange(self, tag, payload)

    patch.setattr(rounds.Run, "exchange", again)


def leave_low_bits_of_inputs_unmasked(patch: pytest.MonkeyPatch) -> None:
    draw = input_step.draw_mask

    def short(step: int, count: int, stream: Stream) -> Any:
        return draw(step, count, stream) & np.uint64(2**64 - 2**8)

    patch.setattr(input_step, "draw_mask", short)


def leave_one_low_bit_unmasked(patch: pytest.MonkeyPatch) -> None:
    draw = opening.draw

    def short(step: int, count: int, stream: Stream) -> Any:
        return draw(step, count, stream) & np.uint64(2**64 - 2)

    patch.setattr(opening, "draw", short)


def mask_with_forty_bits(patch: pytest.MonkeyPatch) -> None:
    draw = input_step.draw_mask

    def short(step: int, count: int, stream: Stream) -> Any:
        return draw(step, count, stream) & np.uint64(2**40 - 1)

    patch.setattr(input_step, "draw_mask", short)


def open_without_a_mask(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(opening, "draw", lambda step, count, stream: np.zeros(count, np.uint64))


def show_comparison_bits(patch: pytest.MonkeyPatch) -> None:
    replace(patch, shared_bits.draw_bits16, lambda step, count, stream: np.zeros(count, np.uint16))


def one_selection_mask_for_both_bits(patch: pytest.MonkeyPatch) -> None:
    draw = shared_bits.draw_planes

    def first(step: int, planes: int, count: int, stream: Stream) -> Any:
        drawn = draw(step, planes, count, stream)
        drawn[:] = drawn[0]
        return drawn

    replace(patch, draw, first)


def deal_tables_in_clear(patch: pytest.MonkeyPatch) -> None:
    draw = shared_bits.Layout.draw

    def clear(self: Any, step: int, count: int, stream0: Stream, out: Any) -> Any:
        parts = draw(self, step, count, stream0, out)
        for part in parts:
            part[:] = 0
        return parts

    patch.setattr(shared_bits.Layout, "draw", clear)


def share_inputs_under_one_seed(patch: pytest.MonkeyPatch) -> None:
    replace(patch, shares.new_seed, lambda: bytes(32))


#: mutant → the coalition (a party, with gateway and client) to whom it gives something away
MUTANTS: dict[Mutant, int] = {
    reuse_a_mask_for_two_values: 1,
    open_under_the_mask_of_the_result: 0,
    use_the_dealers_random_value_for_two_steps: 0,
    restart_the_key_stream_at_each_draw: 1,
    restart_the_key_stream_for_each_bundle: 0,
    repeat_the_rerandomisation: 2,
    skip_the_rerandomisation: 2,
    rerandomise_all_rows_alike: 2,
    send_a_step_again: 1,
    leave_low_bits_of_inputs_unmasked: 0,
    leave_one_low_bit_unmasked: 1,
    mask_with_forty_bits: 1,
    open_without_a_mask: 0,
    show_comparison_bits: 1,
    one_selection_mask_for_both_bits: 0,
    deal_tables_in_clear: 1,
    share_inputs_under_one_seed: 0,
}
