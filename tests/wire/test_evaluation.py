"""What makes an evaluation's parts one: its bytes, its bounds, and what its digest covers."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from libmpc.answers import label_digits
from libmpc.ring import pack_bits, unpack
from libmpc.sealing.open import open_sealed
from libmpc.shares import expand_bits
from libmpc.wire import Kind, QueryPlaintext, ReplyPlaintext, WireError
from libmpc.wire.evaluation import Evaluation, evaluation_digest, evaluation_info
from tests.wire.samples import vectors

NUMBER = bytes(range(16))
ONE = Evaluation(NUMBER, 10, 4)
HEAD = bytes(16) + bytes(32)


def by_hand(evaluation: Evaluation, index: int) -> bytes:
    """As docs/wire.md has it."""
    numbers = struct.pack(">III", evaluation.samples, evaluation.rows, index)
    return evaluation.number + numbers + struct.pack(">H", len(evaluation.cells)) + evaluation.cells


def plain(**fields: Any) -> QueryPlaintext:
    given = {
        "tag": bytes(16),
        "reply_key": bytes(32),
        "kind": Kind.SEED,
        "payload": bytes(32),
        "output": "count",
        "evaluation": ONE,
        "index": 1,
    }
    return QueryPlaintext(**{**given, **fields})


@given(
    st.binary(min_size=16, max_size=16),
    st.integers(1, 2**25),
    st.integers(1, 16384),
    st.binary(max_size=512),
    st.data(),
)
def test_round_trip(
    number: bytes, samples: int, rows: int, cells: bytes, data: st.DataObject
) -> None:
    evaluation = Evaluation(number, samples, min(samples, rows), cells)
    if evaluation.parts > 16384:
        with pytest.raises(WireError):
            evaluation.encode(0)
        return
    index = data.draw(st.integers(0, evaluation.parts - 1))
    encoded = evaluation.encode(index)
    assert encoded == by_hand(evaluation, index)
    assert Evaluation.parse(memoryview(encoded + b"rest")) == (evaluation, index, b"rest")
    for size in range(len(encoded)):
        with pytest.raises(WireError):
            Evaluation.parse(memoryview(encoded[:size]))


def test_rows_of_all_parts_are_the_samples() -> None:
    for samples in range(1, 40):
        for rows in range(1, samples + 1):
            evaluation = Evaluation(NUMBER, samples, rows)
            found = [evaluation.rows_of(index) for index in range(evaluation.parts)]
            assert sum(found) == samples
            assert min(found) >= 1
            assert set(found[:-1]) <= {rows}


@pytest.mark.parametrize(
    "wrong",
    [
        (replace(ONE, number=bytes(15)), 0),
        (replace(ONE, samples=0), 0),
        (replace(ONE, samples=2**25 + 1, rows=16384), 0),
        (replace(ONE, rows=0), 0),
        (replace(ONE, rows=11), 0),
        (replace(ONE, samples=2**20, rows=16385), 0),
        (replace(ONE, samples=16385, rows=1), 0),
        (replace(ONE, cells=bytes(513)), 0),
        (ONE, 3),
        (ONE, -1),
    ],
)
def test_bounds(wrong: tuple[Evaluation, int]) -> None:
    evaluation, index = wrong
    with pytest.raises(WireError):
        evaluation.encode(index)
    if len(evaluation.number) == 16 and index >= 0:
        with pytest.raises(WireError):
            Evaluation.parse(memoryview(by_hand(evaluation, index)))


@pytest.mark.parametrize("output", ["count", "confusion"])
def test_a_part_and_a_request_for_the_sum(output: str) -> None:
    cells = b"\x01" if output == "confusion" else b""
    evaluation = replace(ONE, cells=cells)
    text = bytes([len(output)]) + output.encode()
    for one, kind, payload in (
        (plain(output=output, evaluation=evaluation), b"\x80", bytes(32)),
        (
            plain(output=output, evaluation=evaluation, kind=Kind.PACKED, payload=bytes(17)),
            b"\x81",
            bytes(17),
        ),
        (
            plain(
                output=output, evaluation=evaluation, kind=Kind.COLLECT, payload=bytes(48), index=0
            ),
            b"\x82",
            bytes(48),
        ),
    ):
        encoded = one.encode()
        assert encoded == HEAD + kind + text + by_hand(evaluation, one.index) + payload
        # Two values, and 33 bits of labels where they are packed.
        assert QueryPlaintext.parse(encoded, 2, 33) == one
        for size in range(len(encoded)):
            with pytest.raises(WireError):
                QueryPlaintext.parse(encoded[:size], 2, 33)
        with pytest.raises(WireError):
            QueryPlaintext.parse(encoded + b"\0", 2, 33)


def test_an_evaluation_and_its_output_belong_together() -> None:
    for wrong in (
        plain(output="label"),
        plain(output="logits"),
        plain(evaluation=None),
        plain(kind=Kind.COLLECT, payload=bytes(32)),
        plain(payload=bytes(31)),
    ):
        with pytest.raises(WireError):
            wrong.encode()
    with pytest.raises(WireError, match="unknown kind"):
        QueryPlaintext.parse(HEAD + b"\x82\x05label" + bytes(48), 1)
    with pytest.raises(WireError, match="evaluation"):
        QueryPlaintext.parse(HEAD + b"\x80\x05count" + bytes(29), 1)


def test_the_digest_covers_everything() -> None:
    model, key = "ab" * 32, bytes([7]) * 32
    parts = [(bytes([i]) * 16, bytes([i]) * 32) for i in range(3)]

    def field(data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + data

    fields = [bytes.fromhex(model), b"count", by_hand(ONE, 0), key]
    data = b"libmpc/1 evaluation" + b"".join(map(field, fields))
    data += b"".join(field(n) + field(d) for n, d in parts)
    base = (model, "count", ONE, key, parts)
    assert evaluation_digest(*base) == hashlib.sha256(data).digest()
    changes: list[tuple[int, Any]] = [
        (0, "cd" * 32),
        (1, "confusion"),
        *((2, replace(ONE, **change)) for change in ({"samples": 11}, {"rows": 5})),
        *((2, replace(ONE, **change)) for change in ({"number": bytes(16)}, {"cells": b"\1"})),
        (3, bytes(32)),
        (4, parts[:2]),
        (4, parts[::-1]),
        (4, [*parts[:2], (parts[2][0], bytes(32))]),
        (4, [*parts[:2], (bytes(16), parts[2][1])]),
    ]
    found = {evaluation_digest(*base)}
    for place, change in changes:
        found.add(evaluation_digest(*(*base[:place], change, *base[place + 1 :])))
    assert len(found) == len(changes) + 1


def test_the_sum_s_info_binds_every_field() -> None:
    base = (bytes(16), "ab" * 32, 0, NUMBER)
    others = [(bytes([1]) * 16, *base[1:]), (*base[:2], 1, NUMBER), (*base[:3], bytes(16))]
    infos = {
        evaluation_info(*fields) for fields in (base, *others, (base[0], "cd" * 32, 0, NUMBER))
    }
    assert len(infos) == 5
    wanted = b"libmpc/1 evaluation reply"
    for one in (bytes(16), bytes.fromhex("ab" * 32), b"\0", NUMBER):
        wanted += struct.pack(">I", len(one)) + one
    assert evaluation_info(*base) == wanted


def test_nothing_secret_is_shown() -> None:
    number = b"a secret number!"
    for shown in (
        repr(Evaluation(number, 3, 3)),
        repr(plain(evaluation=replace(ONE, number=number))),
    ):
        assert "secret" not in shown
        assert number.hex()[:12] not in shown


CASES: dict[str, Any] = vectors("evaluation")


@pytest.mark.parametrize("case", CASES["plaintexts"], ids=lambda case: case["what"])
def test_known_plaintexts(case: dict[str, Any]) -> None:
    of, text = case["evaluation"], bytes.fromhex(case["plaintext"])
    one = Evaluation(
        bytes.fromhex(of["number"]), of["samples"], of["rows"], bytes.fromhex(of["cells"])
    )
    kind = Kind(case["kind"] - 128)
    tag, key, payload = (bytes.fromhex(case[name]) for name in ("tag", "reply_key", "payload"))
    made = QueryPlaintext(tag, key, kind, payload, case["output"], one, case["index"])
    assert made.encode() == text
    parsed = QueryPlaintext.parse(text, 3, 24)
    assert replace(parsed, payload=bytes(parsed.payload)) == made


def test_known_labels() -> None:
    case = CASES["labels"]
    digits = label_digits(case["labels"], case["classes"])
    share = expand_bits(bytes.fromhex(case["seed"]), digits.shape)
    assert "".join(map(str, digits.reshape(-1))) == case["digits"]
    assert "".join(map(str, share.reshape(-1))) == case["share_of_seed"]
    assert pack_bits(digits ^ share).hex() == case["other_share_packed"]


def test_the_known_sum() -> None:
    case, of = CASES["sum"], CASES["sum"]["evaluation"]
    one = Evaluation(bytes.fromhex(of["number"]), of["samples"], of["rows"])
    deployment, key = bytes.fromhex(case["deployment"]), bytes.fromhex(case["reply_key"])
    infos = [evaluation_info(deployment, case["model"], p, one.number) for p in (0, 1)]
    assert [info.hex() for info in infos] == case["info"]
    parts = [(bytes.fromhex(p["number"]), bytes.fromhex(p["digest"])) for p in case["parts"]]
    digest = evaluation_digest(case["model"], case["output"], one, key, parts)
    assert digest.hex() == case["digest"]
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(case["reply_private"]))
    total = 0
    for info, sealed in zip(infos, case["replies"], strict=True):
        reply = ReplyPlaintext.parse(open_sealed(private, info, bytes.fromhex(sealed)), 1)
        assert reply.run_digest == digest
        total += int(unpack(reply.share, 1)[0])
    assert [total % 2**48] == case["total"]
