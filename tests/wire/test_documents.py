from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libmpc.wire import (
    Command,
    Descriptor,
    Document,
    Manifest,
    PartyKey,
    QueryHeader,
    WireError,
    model_digest,
    sha256,
    sharing_digest,
)

from .samples import KINDS, documents, manifest, vectors

every_kind = pytest.mark.parametrize(
    ("kind", "fields"), documents(), ids=[kind.__name__ for kind, _ in documents()]
)
Fields = dict[str, Any]


def dumps(fields: Fields) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize("vector", vectors("documents")["documents"], ids=lambda v: v["kind"])
def test_vectors(vector: Fields) -> None:
    kind = KINDS[vector["kind"]]
    document = kind.parse(vector["document"].encode())
    assert vector["label"] == kind.LABEL
    assert document.encode() == vector["document"].encode()
    assert document.model_dump(mode="json") == vector["fields"]


def test_digests() -> None:
    vector = vectors("documents")
    document = next(d["document"] for d in vector["documents"] if d["kind"] == "Manifest").encode()
    parsed = Manifest.parse(document)
    assert model_digest(document).hex() == vector["model_digest"]
    assert parsed.sharing_digest.hex() == vector["sharing_digest"]
    assert sharing_digest(parsed.share_hashes) == parsed.sharing_digest
    assert parsed.plan_digest == sha256(parsed.plan.encode())
    descriptor = parsed.descriptor(model_digest(document).hex(), (28, 28, 1), (10,))
    expected = next(d["document"] for d in vector["documents"] if d["kind"] == "Descriptor")
    assert descriptor.encode() == expected.encode()


@every_kind
def test_any_order_and_white_space(kind: type[Document], fields: Fields) -> None:
    backwards = dict(reversed(fields.items()))
    text = json.dumps(backwards, indent=3).encode()
    assert kind.parse(text) == kind.parse(memoryview(dumps(fields)))


@every_kind
def test_every_truncation(kind: type[Document], fields: Fields) -> None:
    data = kind.parse(dumps(fields)).encode()
    for size in range(len(data)):
        with pytest.raises(WireError):
            kind.parse(data[:size])


@every_kind
def test_each_field_is_needed(kind: type[Document], fields: Fields) -> None:
    for name in fields:
        message = "needs a margin" if name == "range_margin" else name
        with pytest.raises(WireError, match=message):
            kind.parse(dumps({k: v for k, v in fields.items() if k != name}))


@every_kind
def test_unknown_fields(kind: type[Document], fields: Fields) -> None:
    with pytest.raises(WireError, match="unknown field") as caught:
        kind.parse(dumps({**fields, "sekret": 1}))
    assert "sekret" not in str(caught.value)


@every_kind
def test_each_field_twice(kind: type[Document], fields: Fields) -> None:
    inner = dumps(fields)[:-1]
    for name, value in fields.items():
        with pytest.raises(WireError, match="twice"):
            kind.parse(inner + b"," + json.dumps(name).encode() + b":" + dumps(value) + b"}")


@every_kind
@pytest.mark.parametrize("value", [[], {}, True, -1, 2**70, 1.5, "x", "ü" * 99, None, [[1]]])
def test_wrong_values(kind: type[Document], fields: Fields, value: object) -> None:
    for name in fields:
        data = dumps({**fields, name: value})
        try:
            document = kind.parse(data)
        except WireError as error:
            assert "ü" not in str(error)
        else:  # a value that this field may have
            again = json.loads(document.encode())[name]
            assert again == value
            assert isinstance(again, bool) == isinstance(value, bool)


@every_kind
def test_oversized(kind: type[Document], fields: Fields) -> None:
    data = dumps(fields)
    longest = data + b" " * (kind.MAX_BYTES - len(data))
    assert kind.parse(longest) == kind.parse(data)
    with pytest.raises(WireError, match="more than"):
        kind.parse(longest + b" ")


@every_kind
def test_other_versions(kind: type[Document], fields: Fields) -> None:
    for version in (0, 2, "1", 1.0, True, None):
        with pytest.raises(WireError, match="version"):
            kind.parse(dumps({**fields, "version": version}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"{}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"{" * 1000,
        b"[" * 15000,
        b'{"a":' * 3000,
        "{}".encode("utf-16"),
        b'{"version":' + b"1" * 5000 + b',"version":1}',
        b'{"version":NaN}',
        b'"\\ud800"',
    ],
)
def test_no_documents(data: bytes) -> None:
    for kind, _ in documents():
        with pytest.raises(WireError):
            kind.parse(data)


@settings(max_examples=200)
@given(st.sampled_from(documents()), st.data())
def test_noise_is_a_wire_error_or_equal(case: tuple[type[Document], Fields], data: Any) -> None:
    kind, fields = case
    encoded = bytearray(dumps(fields))
    where = data.draw(st.integers(0, len(encoded) - 1))
    encoded[where] = data.draw(st.integers(0, 255))
    try:
        document = kind.parse(encoded)
    except WireError:
        return
    assert kind.parse(document.encode()) == document


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.sampled_from(documents()), json_values, st.data())
def test_strange_values(case: tuple[type[Document], Fields], value: object, data: Any) -> None:
    kind, fields = case
    name = data.draw(st.sampled_from(sorted(fields)))
    try:
        document = kind.parse(dumps({**fields, name: value}))
    except WireError:
        return
    assert kind.parse(document.encode()) == document


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"range_status": "proven"}, "no margin"),
        ({"range_margin": None}, "needs a margin"),
        ({"range_margin": 0.5}, "at least 1"),
        ({"input_range": [1, 1]}, "below the upper"),
        ({"input_range": [0, 1, 2]}, "input_range"),
        ({"expires_ms": 1750000000000}, "empty"),
        ({"expires_ms": 1750003600001}, "longer than an hour"),
        ({"serve": False}, "limit needs"),
        ({"num_requests": 0}, "num_requests"),
        ({"name": "../etc"}, "a name has"),
        ({"owner": "AB" * 32}, "owner"),
        ({"share_hashes": ["00" * 32] * 2}, "share_hashes"),
        ({"plan": "x" * ((4 << 20) + 1)}, "plan"),
        ({"output": "labels"}, "output"),
        ({"final_activation": "tanh"}, "final_activation"),
    ],
)
def test_manifest_rules(changes: Fields, message: str) -> None:
    with pytest.raises(WireError, match=message):
        manifest(**changes)


def test_longest_plan_fits() -> None:
    plan = '"' * (4 << 20)
    assert Manifest.parse(manifest(plan=plan).encode()).plan == plan


def fields_of(kind: type[Document]) -> Fields:
    return next(fields for k, fields in documents() if k is kind)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (Command, {"action": "stop", "num_requests": 1}, "only serving"),
        (Command, {"action": "burn"}, "action"),
        (Command, {"issued_ms": 1750000600000}, "empty"),
        (PartyKey, {"party": 3}, "party"),
        (PartyKey, {"not_after_ms": 1750000000000 + 7 * 86_400_000 + 1}, "longer than a week"),
        (QueryHeader, {"shape": [16385, 1]}, "16384 samples"),
        (QueryHeader, {"shape": [33, 1 << 20]}, "split the batch"),
        (QueryHeader, {"shape": [1]}, "shape"),
        (QueryHeader, {"shape": [1, 0]}, "shape"),
        (QueryHeader, {"shape": [1] * 10}, "shape"),
        (QueryHeader, {"key_ids": ["00" * 8]}, "key_ids"),
        (Descriptor, {"width": 56}, "width"),
        (Descriptor, {"input_shape": []}, "input_shape"),
        (Descriptor, {"input_shape": [1 << 29]}, "input_shape"),
        (Descriptor, {"final_activation": "softmax:-2"}, "axis"),
    ],
)
def test_rules(kind: type[Document], changes: Fields, message: str) -> None:
    with pytest.raises(WireError, match=message):
        kind.parse(dumps({**fields_of(kind), **changes}))


def test_no_numbers_that_json_does_not_have() -> None:
    for text in ("NaN", "Infinity", "-Infinity", "1e999"):
        data = dumps(fields_of(Manifest)).replace(b"2048.0", text.encode())
        with pytest.raises(WireError):
            Manifest.parse(data)


def test_share_check() -> None:
    sample = manifest()
    share = bytes.fromhex(vectors("plaintexts")["push"]["share"])
    sample.check_share(0, share)
    sample.check_share(0, memoryview(share))
    for party, payload in ((1, share), (0, share[:-1]), (0, b"")):
        with pytest.raises(WireError, match="push again"):
            sample.check_share(party, payload)
