"""Bundles and runs are for a model and an output: named, found and keyed apart."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from libmpc.errors import ModelError
from libmpc.graph.tail import with_output
from libmpc.outputs import OutputKind, parse
from libmpc.party import variants
from libmpc.party.entry import Entry
from libmpc.party.keys import CORRELATED, bundle_stream
from libmpc.party.messages import Deal
from libmpc.party.run import run_digest
from libmpc.party.variants import (
    MAX_WANTED,
    Variants,
    Wanted,
    model_of,
    variant_bytes,
    variant_name,
)
from libmpc.wire.context import context
from libmpc.wire.errors import WireError
from tests.graph.test_tail import dense

MODEL = "ab" * 32
KINDS = [
    parse(text) for text in ("logits", "label", "topk:2", "topk:3", "scores:8", "scores:8:-1.0:1.0")
]


CLIPPED = KINDS[-1]


def entry(classes: int = 10, output: str = "logits") -> Entry:
    unused: Any = None
    return Entry(
        record=SimpleNamespace(model=MODEL),  # type: ignore[arg-type]
        manifest=SimpleNamespace(output=output),  # type: ignore[arg-type]
        plan=dense(classes),
        sharing=bytes(32),
        weights=unused,
        variant=MODEL,
    )


def test_names() -> None:
    names = [variant_name(MODEL, kind) for kind in KINDS]
    assert names[0] == MODEL
    assert len(set(names)) == len({variant_bytes(name) for name in names}) == len(KINDS)
    assert variant_bytes(MODEL) == bytes.fromhex(MODEL)
    for name in names:
        assert model_of(name) == MODEL
        assert Deal(bundle=1, count=1, model=name, rung=1, streamed=False).model == name


@pytest.mark.parametrize("name", ["", "ab", MODEL + ":", MODEL + ":" + "a" * 65, MODEL + ":\u00e4"])
def test_messages_bound_the_name(name: str) -> None:
    body = Deal(bundle=1, count=1, model=MODEL, rung=1, streamed=False).encode()
    with pytest.raises(WireError):
        Deal.parse(body.replace(MODEL.encode(), name.encode()))


def test_every_variant_is_found() -> None:
    found, stored = Variants(), {MODEL: entry()}
    for kind in KINDS[:-1]:
        name = variant_name(MODEL, kind)
        answering = found.find(stored, name)
        assert answering is not None
        assert answering.variant == name
        assert answering.plan == with_output(dense(10), kind)
        assert answering == found.answering(stored[MODEL], kind)
    assert found.find(stored, MODEL) is stored[MODEL]
    for wrong in ("cd" * 32, MODEL + ":topk:11", MODEL + ":nonsense", MODEL + ":topk:02"):
        assert found.find(stored, wrong) is None
    name = variant_name(MODEL, CLIPPED)
    assert found.find(stored, name) is None  # the owner's affair
    only = {MODEL: entry(output=str(CLIPPED))}
    assert found.find(only, name) == found.answering(only[MODEL], CLIPPED)
    assert found.find(only, MODEL + ":label") is None
    with pytest.raises(ModelError):
        Variants().answering(entry(1), KINDS[1])


def test_a_plan_is_derived_once(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[OutputKind] = []

    def counted(plan: Any, kind: OutputKind) -> Any:
        derived.append(kind)
        return with_output(plan, kind)

    monkeypatch.setattr(variants, "with_output", counted)
    found, stored = Variants(), {MODEL: entry()}
    for _ in range(3):
        for kind in KINDS[:-1]:
            found.find(stored, variant_name(MODEL, kind))
    assert derived == KINDS[1:-1]
    for bits in range(17):  # more than are kept
        for high in range(1, 5):
            found.answering(stored[MODEL], OutputKind("scores", bits=bits, clip=(0, high)))
    found.find(stored, MODEL + ":label")
    assert derived[-1] == KINDS[1]


def test_bundles_of_variants_have_streams_of_their_own() -> None:
    names = [variant_name(MODEL, kind) for kind in KINDS]
    draws = {
        bundle_stream(bytes(32), b"e", CORRELATED, n, 1).words(0, 1, 4).tobytes() for n in names
    }
    assert len(draws) == len(names)
    # A name is one field of the key's context: no other field can be taken for a part of it.
    assert context("k", variant_bytes(names[1])) != context("k", variant_bytes(MODEL), b"label")


def test_the_run_digest_tells_variants_apart() -> None:
    found, stored = Variants(), {MODEL: entry()}
    entries = [found.answering(stored[MODEL], kind) for kind in KINDS]
    assert len({run_digest(b"e", 1, one, 1, []) for one in entries}) == len(KINDS)


def test_an_entry_that_has_changed_since() -> None:
    """Counts are new entries; the derived plan is the same object, so bundles still fit."""
    found, first = Variants(), entry()
    second = replace(first, sharing=bytes([1]) * 32)
    one, other = (found.answering(e, KINDS[1]) for e in (first, second))
    assert one.plan is other.plan
    assert other.sharing == second.sharing


def test_the_last_ones_asked_for_are_remembered() -> None:
    wanted = Wanted()
    for name in ("a", "b", "c", "a", "d", "e"):
        wanted.ask(name)
    assert list(wanted) == ["c", "a", "d", "e"]
    assert len(list(wanted)) == MAX_WANTED
