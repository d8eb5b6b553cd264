from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.wire import WireError, check_name, context, is_name, sha256

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "context.json").read_text())

labels = st.from_regex(r"[a-z][a-z ]{0,31}", fullmatch=True)
fields = st.lists(st.binary(max_size=40), max_size=5)


def naive(label: str, parts: list[bytes]) -> bytes:
    text = b"libmpc/1 " + label.encode()
    for part in parts:
        text += len(part).to_bytes(4, "big") + part
    return text


@pytest.mark.parametrize("case", VECTORS["cases"])
def test_vectors(case: dict[str, object]) -> None:
    parts = [bytes.fromhex(f) for f in case["fields"]]  # type: ignore[attr-defined]
    encoded = context(str(case["label"]), *parts)
    assert encoded.hex() == case["context"]
    assert sha256(encoded).hex() == case["sha256"]


@given(labels, fields)
def test_as_documented(label: str, parts: list[bytes]) -> None:
    assert context(label, *parts) == naive(label, parts)


def decode(encoded: bytes) -> tuple[str, list[bytes]]:
    rest = encoded.removeprefix(b"libmpc/1 ")
    size = next((i for i, byte in enumerate(rest) if byte < 0x20), len(rest))
    label, rest = rest[:size].decode(), rest[size:]
    parts = []
    while rest:
        size = int.from_bytes(rest[:4], "big")
        parts.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return label, parts


@given(labels, fields)
def test_different_calls_differ(label: str, parts: list[bytes]) -> None:
    # It can be read back in one way, so no two calls give the same bytes.
    assert decode(context(label, *parts)) == (label, parts)


@pytest.mark.parametrize("label", ["", "Query", "query\n", "query1", " query", "é", "a" * 33])
def test_label_refused(label: str) -> None:
    with pytest.raises(WireError, match="lower-case words"):
        context(label)


def test_field_too_long() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return 1 << 29

    with pytest.raises(WireError, match="more than"):
        context("query", Long())


@pytest.mark.parametrize("name", ["a", "0", "mnist", "short-conv.v2_b", "a..b", "x" * 63])
def test_names(name: str) -> None:
    assert check_name(name) == name
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "A", "a b", "-a", "a\n", "\na", "é", "x" * 64, "a\0"],
)
def test_names_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(WireError, match="choose another"):
        check_name(name)
