"""Final activations as descriptors spell them."""

from __future__ import annotations

import json

import pytest

from libmpc.wire import Descriptor, WireError, read_final, spell_final
from tests.wire.samples import documents


@pytest.mark.parametrize("kind", ["softmax", "log_softmax", "argmax"])
@pytest.mark.parametrize("axis", range(-8, 0))
def test_there_and_back(kind: str, axis: int) -> None:
    text = spell_final(kind, axis)
    assert read_final(text) == (kind, axis)
    assert text == (kind if axis == -1 else f"{kind}:{axis}")


def test_what_needs_no_axis() -> None:
    assert spell_final(None) is None
    assert read_final(None) == (None, -1)
    assert spell_final("sigmoid", -3) == "sigmoid"


@pytest.mark.parametrize(("kind", "axis"), [("tanh", -1), ("softmax", 0), ("softmax", -9)])
def test_what_cannot_be_spelt(kind: str, axis: int) -> None:
    with pytest.raises(WireError, match="no final activation"):
        spell_final(kind, axis)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("argmax:-2", True),
        ("sigmoid", True),
        (None, True),
        ("argmax:-3", False),
        ("argmax:-1", False),
        ("sigmoid:-2", False),
        ("softmax\n", False),
        ("", False),
    ],
)
def test_in_a_descriptor(text: str | None, good: bool) -> None:
    fields = next(fields for kind, fields in documents() if kind is Descriptor)
    data = json.dumps({**fields, "output_shape": [4, 10], "final_activation": text}).encode()
    if good:
        assert Descriptor.parse(data).final_activation == text
    else:
        with pytest.raises(WireError, match=r"final.activation"):
            Descriptor.parse(data)
