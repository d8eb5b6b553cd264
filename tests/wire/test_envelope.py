from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.wire import (
    Kind,
    PushHeader,
    PushPlaintext,
    QueryHeader,
    QueryPlaintext,
    ReplyPlaintext,
    Signed,
    WireError,
    push_info,
    query_info,
    reply_info,
)

from .samples import manifest, vectors

PLAIN, INFO = vectors("plaintexts"), vectors("info")
PUSH = bytes.fromhex(PLAIN["push"]["plaintext"])
tags, keys = st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32)
signatures = st.binary(min_size=64, max_size=64)


def packed(values: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=6 * values, max_size=6 * values)


def headers() -> tuple[bytes, QueryHeader, PushHeader]:
    query = QueryHeader.model_validate(
        {
            **INFO["query_header"],
            "shape": (2, 28, 28, 1),
            "key_ids": tuple(INFO["query_header"]["key_ids"]),
        }
    )
    push = PushHeader.model_validate(
        {**INFO["push_header"], "key_ids": tuple(INFO["push_header"]["key_ids"])}
    )
    return bytes.fromhex(INFO["deployment"]), query, push


def test_info_vectors() -> None:
    deployment, query, push = headers()
    assert [query_info(deployment, query, p).hex() for p in (0, 1)] == INFO["query"]
    assert [push_info(deployment, push, p).hex() for p in (0, 1, 2)] == INFO["push"]
    replies = [reply_info(deployment, query.model, p, query.number).hex() for p in (0, 1)]
    assert replies == INFO["reply"]


def test_query_info_binds_every_field() -> None:
    deployment, query, _ = headers()
    changes = {
        "model": "00" * 32,
        "number": "00" * 16,
        "expires_ms": query.expires_ms + 1,
        "shape": (2, 28, 28),
        "key_ids": ("00" * 8, query.key_ids[1]),
    }
    assert changes.keys() == QueryHeader.model_fields.keys() - {"version"}
    others = [query.model_copy(update={name: value}) for name, value in changes.items()]
    infos = [query_info(deployment, header, 0) for header in (query, *others)]
    infos += [query_info(deployment, query, 1), query_info(bytes(16), query, 0)]
    assert len(set(infos)) == len(infos)


def test_push_info_binds_every_field() -> None:
    deployment, _, push = headers()
    changes = {
        "model": "00" * 32,
        "number": "00" * 16,
        "expires_ms": push.expires_ms + 1,
        "key_ids": ("00" * 8, *push.key_ids[1:]),
    }
    assert changes.keys() == PushHeader.model_fields.keys() - {"version"}
    others = [push.model_copy(update={name: value}) for name, value in changes.items()]
    infos = [push_info(deployment, header, 0) for header in (push, *others)]
    infos += [push_info(deployment, push, 1), push_info(bytes(16), push, 0)]
    assert len(set(infos)) == len(infos)


@pytest.mark.parametrize("vector", PLAIN["query"], ids=lambda v: f"kind {v['kind']}")
def test_query_vectors(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["plaintext"])
    values = int(vector["values"])
    parsed = QueryPlaintext.parse(data, values)
    assert parsed.encode() == data
    assert (parsed.tag.hex(), parsed.reply_key.hex()) == (vector["tag"], vector["reply_key"])
    assert (parsed.kind, bytes(parsed.payload).hex()) == (vector["kind"], vector["payload"])
    for size in range(len(data)):
        with pytest.raises(WireError):
            QueryPlaintext.parse(data[:size], values)
    with pytest.raises(WireError):
        QueryPlaintext.parse(data + b"\0", values)
    for kind in range(2, 256):
        # With another output before the payload, which is cut off then.
        known = kind & 0x7F < 2 or kind == Kind.COLLECT | 0x80
        with pytest.raises(WireError, match="written|length" if known else "unknown kind"):
            QueryPlaintext.parse(data[:48] + bytes([kind]) + data[49:], values)


def test_push_vector() -> None:
    parsed = PushPlaintext.parse(PUSH)
    vector = PLAIN["push"]
    assert parsed.encode() == PUSH
    assert parsed.manifest.document == vector["manifest"].encode()
    assert parsed.manifest.signature.hex() == vector["signature"]
    assert bytes(parsed.share).hex() == vector["share"]


def test_push_truncations() -> None:
    # The share has no length of its own: a cut in it is found by the manifest's hash.
    sample = manifest()
    for size in range(len(PUSH)):
        with pytest.raises(WireError):
            sample.check_share(0, PushPlaintext.parse(PUSH[:size]).share)
    sample.check_share(0, PushPlaintext.parse(PUSH).share)


@pytest.mark.parametrize("size", [0, (12 << 20) + 1, 2**31, 2**32 - 1])
def test_push_manifest_lengths(size: int) -> None:
    with pytest.raises(WireError, match="missing, cut off or too long"):
        PushPlaintext.parse(size.to_bytes(4, "big") + PUSH[4:])


def test_reply_vector() -> None:
    vector = PLAIN["reply"]
    data = bytes.fromhex(vector["plaintext"])
    parsed = ReplyPlaintext.parse(data, vector["values"])
    assert parsed.encode() == data
    assert parsed.run_digest.hex() == vector["run_digest"]
    assert bytes(parsed.share).hex() == vector["share"]
    for size in range(len(data)):
        with pytest.raises(WireError):
            ReplyPlaintext.parse(data[:size], vector["values"])
    with pytest.raises(WireError):
        ReplyPlaintext.parse(data + b"\0", vector["values"])


@given(tags, keys, st.integers(1, 50), st.data())
def test_query_round_trip(tag: bytes, key: bytes, values: int, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([Kind.SEED, Kind.PACKED]))
    payload = data.draw(keys if kind is Kind.SEED else packed(values))
    output = data.draw(st.sampled_from(["logits", "label", "topk:3", "x" * 64]))
    plaintext = QueryPlaintext(tag, key, kind, payload, output)
    assert QueryPlaintext.parse(memoryview(plaintext.encode()), values) == plaintext


@given(st.binary(min_size=1, max_size=99), signatures, st.binary(min_size=1, max_size=99))
def test_push_round_trip(document: bytes, signature: bytes, share: bytes) -> None:
    plaintext = PushPlaintext(Signed(document=document, signature=signature), share)
    assert PushPlaintext.parse(plaintext.encode()) == plaintext


@given(keys, st.integers(1, 50).flatmap(packed))
def test_reply_round_trip(digest: bytes, share: bytes) -> None:
    plaintext = ReplyPlaintext(digest, share)
    assert ReplyPlaintext.parse(plaintext.encode(), len(share) // 6) == plaintext


@given(st.binary(max_size=200), st.integers(1, 20))
def test_noise(data: bytes, values: int) -> None:
    parsers: tuple[Callable[[], bytes], ...] = (
        lambda: QueryPlaintext.parse(data, values).encode(),
        lambda: PushPlaintext.parse(data).encode(),
        lambda: ReplyPlaintext.parse(data, values).encode(),
    )
    for parse in parsers:
        with contextlib.suppress(WireError):
            assert parse() == data


@pytest.mark.parametrize(
    "plaintext",
    [
        QueryPlaintext(bytes(15), bytes(32), Kind.SEED, bytes(32)),
        QueryPlaintext(bytes(16), bytes(31), Kind.SEED, bytes(32)),
        QueryPlaintext(bytes(16), bytes(32), Kind.SEED, bytes(36)),
        QueryPlaintext(bytes(16), bytes(32), Kind.PACKED, bytes(32)),
        QueryPlaintext(bytes(16), bytes(32), Kind.PACKED, b""),
        QueryPlaintext(bytes(16), bytes(32), Kind.SEED, bytes(32), ""),
        QueryPlaintext(bytes(16), bytes(32), Kind.SEED, bytes(32), "x" * 65),
        QueryPlaintext(bytes(16), bytes(32), Kind.SEED, bytes(32), "\u00e4"),
        PushPlaintext(Signed(document=b"x", signature=bytes(64)), b""),
        ReplyPlaintext(bytes(31), bytes(6)),
        ReplyPlaintext(bytes(32), bytes(7)),
        QueryPlaintext(bytes(16), bytes(32), Kind.COLLECT, bytes(16)),
    ],
)
def test_nothing_wrong_is_encoded(
    plaintext: QueryPlaintext | PushPlaintext | ReplyPlaintext,
) -> None:
    with pytest.raises(WireError):
        plaintext.encode()


@pytest.mark.parametrize(
    "output", [b"", b"\x00", b"\x05labe", b"\x06logits", b"\x41" + b"x" * 65, b"\x02\xc3\xa4"]
)
def test_an_output_is_written_in_one_way(output: bytes) -> None:
    head = bytes(16) + bytes(32)
    with pytest.raises(WireError):
        QueryPlaintext.parse(head + b"\x80" + output + bytes(32), 1)
    with pytest.raises(WireError):
        QueryPlaintext.parse(head + b"\x80" + output, 1)
    assert QueryPlaintext.parse(head + b"\x80\x05label" + bytes(32), 1).output == "label"
    assert QueryPlaintext.parse(head + b"\x81\x05label" + bytes(6), 1).kind is Kind.PACKED


def test_payloads_are_views() -> None:
    data = bytearray(QueryPlaintext(bytes(16), bytes(32), Kind.PACKED, bytes(12)).encode())
    parsed = QueryPlaintext.parse(data, 2)
    data[-1] = 7
    assert bytes(parsed.payload)[-1] == 7


def test_nothing_secret_is_shown() -> None:
    secret = b"a share of something"
    signed = Signed(document=secret * 2, signature=(secret * 4)[:64])
    shown = [
        QueryPlaintext(secret[:16], (secret * 2)[:32], Kind.PACKED, secret),
        PushPlaintext(signed, secret),
        ReplyPlaintext(bytes(32), secret),
        signed,
    ]
    for text in [f(value) for value in shown for f in (repr, str)]:
        assert "share of" not in text
        assert secret.hex()[:12] not in text
