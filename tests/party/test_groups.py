"""Corrections of several bundles on their way to party 1."""

from __future__ import annotations

import numpy as np
import pytest

from libmpc.party import groups
from libmpc.party.groups import Arrival, largest_group, pieces
from libmpc.party.messages import MAX_GROUP, BundleHeader
from libmpc.wire.errors import WireError

SIZES = {2: 700, 4: 301, 5: 12}
BUNDLE = sum(SIZES.values())


def header(count: int) -> BundleHeader:
    some = "ab" * 32
    return BundleHeader(
        bundle=7, count=count, model=some, plan=some, sharing=some, rung=1, streamed=False
    )


def joined(count: int) -> bytes:
    return np.random.default_rng(count).bytes(count * BUNDLE)


@pytest.mark.parametrize("piece", [1, 500, BUNDLE, 3 * BUNDLE, 3 * BUNDLE + 1, 1 << 20])
def test_pieces_arrive_as_what_was_cut(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(groups, "PIECE_BYTES", piece)
    sent = joined(3)
    cut = list(pieces(memoryview(sent)))
    arrival = Arrival(header(3), SIZES)
    assert [arrival.take(i, part) for i, part in enumerate(cut)] == [False] * (len(cut) - 1) + [
        True
    ]
    found = arrival.corrections()
    assert [{step: len(part) for step, part in one.items()} for one in found] == [SIZES] * 3
    assert b"".join(bytes(part) for one in found for part in one.values()) == sent


def test_a_piece_out_of_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "PIECE_BYTES", 500)
    cut = list(pieces(memoryview(joined(1))))
    assert len(cut) == 3
    for wrong in ((1, cut[1]), (0, cut[2]), (0, b""), (0, bytes(501))):
        with pytest.raises(WireError, match="unexpected"):
            Arrival(header(1), SIZES).take(*wrong)
    arrival = Arrival(header(1), SIZES)
    for number, part in enumerate(cut):
        with pytest.raises(WireError, match="unexpected"):
            arrival.take(number + 1, part)
        arrival.take(number, part)
    with pytest.raises(WireError, match="unexpected"):
        arrival.take(len(cut), b"")
    assert repr(arrival) == f"<Arrival, {BUNDLE} of {BUNDLE} bytes>"


def test_groups_are_bounded() -> None:
    assert largest_group(1) == MAX_GROUP
    assert largest_group(groups.GROUP_BYTES) == largest_group(10**9) == 1
    assert largest_group(groups.GROUP_BYTES // 3) == 3
    large = {1: groups.GROUP_BYTES // 3}
    Arrival(header(3), large)
    with pytest.raises(WireError, match="too many"):
        Arrival(header(4), large)
