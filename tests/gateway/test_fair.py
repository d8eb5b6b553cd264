"""The queue by itself: nothing is lost, nobody starves, nothing is kept of who has left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.fair import MAX_TAGS, FairQueue, Load
from services.gateway.query import PendingQuery


@dataclass(eq=False)
class Waiting:
    """What the queue looks at."""

    client: str
    batch: int = 1
    size: int = 10
    over: bool = False

    @property
    def header(self) -> Waiting:
        return self


def queue(*waiting: Waiting) -> FairQueue:
    made = FairQueue(Load(1000, 1 << 20, 1 << 30))
    for one in waiting:
        made.push(cast(PendingQuery, one))
    return made


def order(made: FairQueue) -> list[str]:
    return [made.pop().client for _ in range(len(made))]


def test_a_flood_is_one_client() -> None:
    flood = [Waiting("a") for _ in range(5)]
    assert order(queue(*flood, Waiting("b"), Waiting("b"), Waiting("c"))) == list("abcabaaa")


def test_a_newcomer_does_not_wait_for_what_was_there() -> None:
    made = queue(*(Waiting("a", batch=100) for _ in range(5)))
    made.pop()
    made.push(cast(PendingQuery, Waiting("b")))
    assert order(made) == list("baaaa")


def test_who_was_away_has_saved_nothing_up() -> None:
    made = queue(*(Waiting("a") for _ in range(6)))
    made.push(cast(PendingQuery, Waiting("b")))
    assert [made.pop().client for _ in range(4)] == list("abaa")
    for _ in range(3):
        made.push(cast(PendingQuery, Waiting("b")))
    assert order(made) == list("bababa")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.booleans()), max_size=60))
def test_what_is_in_it(entries: list[tuple[str, int, bool]]) -> None:
    waiting = [Waiting(client, batch) for client, batch, _ in entries]
    made = queue(*waiting)
    for one, (_, _, leaves) in zip(waiting, entries, strict=True):
        if leaves:
            one.over = True
            made.give_up(cast(PendingQuery, one))
    left = [one for one in waiting if not one.over]
    assert made.load == Load(len(left), sum(o.batch for o in left), sum(o.size for o in left))
    assert {id(one) for one in made} == {id(one) for one in left}
    popped = [cast(Waiting, made.pop()) for _ in left]
    for client in "abc":  # each client's leave in their order
        assert [o for o in popped if o.client == client] == [o for o in left if o.client == client]
    assert made.first is None
    assert made.load == Load()


@pytest.mark.parametrize("staying", [False, True])
def test_nothing_is_kept_of_who_has_left(staying: bool) -> None:
    made = queue(*[Waiting("stays", batch=1 << 30)] * 2 if staying else [])
    for number in range(10_000):
        one = Waiting(f"10.0.0.{number}")
        made.push(cast(PendingQuery, one))
        if number % 2:
            one.over = True
            made.give_up(cast(PendingQuery, one))
        else:
            made.pop()
    assert len(made._heap) + len(made._held) + len(made._ends) < MAX_TAGS + 300
