"""An epoch holds only while all three parties name the same three handshakes."""

from __future__ import annotations

import itertools
import secrets

from hypothesis import given
from hypothesis import strategies as st

from libmpc.party.epoch import PARTIES, EpochTracker

PAIRS = ((0, 1), (0, 2), (1, 2))


class World:
    """Three trackers, their links, and reports under way."""

    def __init__(self) -> None:
        self.trackers = {p: EpochTracker(p) for p in PARTIES}
        self.queues: dict[tuple[int, int], list] = {}
        for pair in PAIRS:
            self.connect(pair)

    def connect(self, pair: tuple[int, int]) -> None:
        transcript = secrets.token_bytes(32)
        for own, peer in (pair, pair[::-1]):
            self.trackers[own].link_up(peer, transcript)
            self.queues[own, peer] = []  # what was under way is lost with the old link
        for own in pair:
            self.tell(own)

    def cut(self, pair: tuple[int, int]) -> None:
        for own, peer in (pair, pair[::-1]):
            self.trackers[own].link_down(peer)
            self.queues.pop((own, peer), None)
        for own in pair:
            self.tell(own)

    def tell(self, own: int) -> None:
        for (sender, _), queue in self.queues.items():
            if sender == own:
                queue.append(self.trackers[own].report())

    def deliver(self, sender: int, receiver: int) -> bool:
        queue = self.queues.get((sender, receiver))
        if not queue:
            return False
        before = self.trackers[receiver].report()
        self.trackers[receiver].hear(sender, queue.pop(0))
        if self.trackers[receiver].report() != before:
            self.tell(receiver)
        return True

    def settle(self) -> None:
        while any(self.deliver(s, r) for s, r in itertools.permutations(PARTIES, 2)):
            pass

    @property
    def epochs(self) -> set[bytes | None]:
        return {t.epoch for t in self.trackers.values()}


def test_three_links_make_one_epoch() -> None:
    world = World()
    assert world.epochs == {None}
    world.settle()
    (epoch,) = world.epochs
    assert epoch is not None
    assert len(epoch) == 32


def test_any_new_handshake_makes_another_epoch() -> None:
    world = World()
    world.settle()
    seen = set(world.epochs)
    for pair in PAIRS:
        world.connect(pair)
        assert world.trackers[pair[0]].epoch is None
        assert world.trackers[pair[1]].epoch is None
        world.settle()
        (epoch,) = world.epochs
        assert epoch is not None
        assert epoch not in seen
        seen.add(epoch)


def test_a_lost_link_ends_the_epoch_everywhere() -> None:
    for pair in PAIRS:
        world = World()
        world.settle()
        world.cut(pair)
        world.settle()
        assert world.epochs == {None}


def test_a_party_that_reports_another_handshake_stops_the_epoch() -> None:
    world = World()
    world.settle()
    liar = world.trackers[2].report()
    changed = {**liar.transcripts, "0": "ab" * 32}
    world.trackers[1].hear(2, liar.model_copy(update={"transcripts": changed}))
    assert world.trackers[1].epoch is None


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), max_size=60))
def test_two_parties_never_hold_different_epochs_and_all_agree_in_the_end(
    events: list[tuple[int, int]],
) -> None:
    world = World()
    directions = list(itertools.permutations(PARTIES, 2))
    for kind, which in events:
        if kind == 7:
            world.connect(PAIRS[which])
        elif kind == 8:
            world.cut(PAIRS[which])
        else:
            world.deliver(*directions[kind % 6])
        # Parties may notice late, but an epoch's hash names the handshakes, so two that hold one
        # and share a live link can only hold the same one once reports are delivered.
    for pair in PAIRS:
        if pair not in world.queues:
            world.connect(pair)
    world.settle()
    assert len(world.epochs) == 1
    assert world.epochs != {None}
