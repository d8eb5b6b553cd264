"""Bodies of inference requests, well formed and not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libmpc.errors import ServiceError
from libmpc.wire.errors import WireError
from services.gateway.tensors import InferRequest, encode_infer, parse_infer
from tests.gateway.rig import BINARY, binary_request, header, json_request, parameters, tensor

QUERY = header()
LIMIT = 1 << 20
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


def parse(body: bytes, length: str | None) -> InferRequest:
    return parse_infer(bytearray(body), length, LIMIT)


def refuses(body: bytes, length: str | None) -> str:
    """The text with which a body is refused; anything but a clear refusal fails the test."""
    with pytest.raises((ServiceError, WireError)) as caught:
        parse(body, length)
    assert getattr(caught.value, "status", 400) == 400
    return str(caught.value)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_both_encodings_give_the_same(first: bytes, second: bytes) -> None:
    body, headers = binary_request(QUERY, (first, second))
    binary = parse(body, headers[BINARY])
    text = parse(json.dumps(json_request(QUERY, (first, second))).encode(), None)
    for request in (binary, text):
        assert [bytes(envelope) for envelope in request.envelopes] == [first, second]
        assert request.header == QUERY
    assert binary.outputs == ((0, True), (1, True))
    assert text.outputs == ((0, False), (1, False))


@given(st.data())
def test_a_changed_binary_body_is_parsed_or_refused(data: st.DataObject) -> None:
    body, headers = binary_request(QUERY, (b"abc", b"defg"))
    place = data.draw(st.integers(0, len(body) - 1))
    changed = bytearray(body)
    changed[place] = data.draw(st.integers(0, 255))
    try:
        parse(bytes(changed), headers[BINARY])
    except (ServiceError, WireError) as error:
        assert getattr(error, "status", 400) == 400


@given(st.integers(0, 2000))
def test_a_body_of_another_length_is_refused(length: int) -> None:
    body, headers = binary_request(QUERY, (b"abc", b"defg"))
    if length != len(body):
        refuses((body + b"\0" * 2000)[:length], headers[BINARY])


@given(st.integers(0, 2000))
def test_another_header_length_is_refused(length: int) -> None:
    body, headers = binary_request(QUERY, (b"abc", b"defg"))
    if str(length) != headers[BINARY]:
        refuses(body, str(length))


@given(st.integers(-10, 30) | st.integers() | st.sampled_from([None, True, 7.0, "7", [7], {}]))
def test_element_sizes_are_checked(size: object) -> None:
    inputs = [
        tensor("share0", parameters={"binary_data_size": size}),
        tensor("share1", parameters={"binary_data_size": 5}),
    ]
    head = json.dumps({"parameters": parameters(QUERY), "inputs": inputs}).encode()
    tail = (3).to_bytes(4, "little") + b"abc" + (1).to_bytes(4, "little") + b"d"
    if size == 7 and type(size) is int:
        parse(head + tail, str(len(head)))
    else:
        refuses(head + tail, str(len(head)))


@given(values, st.sampled_from(["inputs", "parameters", "outputs", "id"]))
def test_any_json_in_any_place(value: object, field: str) -> None:
    document = json_request(QUERY)
    document[field] = value
    try:
        request = parse(json.dumps(document).encode(), None)
    except (ServiceError, WireError) as error:
        assert getattr(error, "status", 400) == 400
    else:
        assert field in ("id", "outputs")
        assert request.header == QUERY


@given(values)
def test_any_json_as_a_body(value: object) -> None:
    refuses(json.dumps(value).encode(), None)


@given(st.binary(max_size=100))
def test_any_bytes_as_a_body(body: bytes) -> None:
    refuses(body, None)


def test_deep_json_is_refused() -> None:
    refuses(b"[" * 100_000, None)
    refuses(b'{"a":' * 100_000, None)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"inputs": [tensor("share0", data=[""])]}, "share0 and share1"),
        ({"inputs": [tensor("share0", data=[""]), tensor("share0", data=[""])]}, "each once"),
        ({"inputs": [tensor("share0", data=[""]), tensor("share2", data=[""])]}, "share0 and"),
        ({"inputs": [tensor("share0", data=["?"]), tensor("share1", data=[""])]}, "base64"),
        ({"inputs": [tensor("share0", data=["", ""]), tensor("share1", data=[""])]}, "list of one"),
        ({"inputs": [{**tensor("share0", data=[""]), "datatype": "FP32"}]}, "BYTES"),
        ({"inputs": [{**tensor("share0", data=[""]), "shape": [2]}]}, "shape [1]"),
        ({"outputs": [{"name": "share0"}]}, "logits0 and logits1"),
        ({"outputs": [{"name": "logits0"}, {"name": "logits0"}]}, "each once"),
        ({"parameters": {}}, "libmpc_header"),
        ({"parameters": {**parameters(QUERY), "timeout": 0}}, "microseconds"),
        ({"parameters": {**parameters(QUERY), "timeout": True}}, "microseconds"),
        ({"parameters": {**parameters(QUERY), "binary_data_output": 1}}, "true or false"),
        ({"id": "x" * 300}, "id"),
    ],
)
def test_the_text_says_what_is_wrong(changes: dict[str, object], text: str) -> None:
    body = json.dumps(json_request(QUERY) | changes).encode()
    assert text in refuses(body, None)


def test_a_bad_header_shows_no_value() -> None:
    document = json_request(QUERY)
    document["parameters"] = {"libmpc_header": {"model": "a secret"}}
    assert "a secret" not in refuses(json.dumps(document).encode(), None)


def test_data_and_binary_data_exclude_each_other() -> None:
    inputs = [tensor("share0", data=[""], parameters={"binary_data_size": 4})]
    head = json.dumps({"parameters": parameters(QUERY), "inputs": inputs}).encode()
    assert "not both" in refuses(head + bytes(4), str(len(head)))


def test_one_output_binary_and_one_not() -> None:
    document = json_request(QUERY)
    document["outputs"] = [
        {"name": "logits0", "parameters": {"binary_data": True}},
        {"name": "logits1"},
    ]
    request = parse(json.dumps(document).encode(), None)
    content, headers = encode_infer("digits", request, (b"one", b"two"))
    size = int(headers[BINARY])
    first, second = json.loads(content[:size])["outputs"]
    assert first["parameters"] == {"binary_data_size": 7}
    assert second["data"] == ["dHdv"]
    assert content[size:] == b"\x03\x00\x00\x00one"


def test_envelopes_are_not_shown() -> None:
    assert "share" not in repr(parse(*_request())).replace("envelopes", "")


def _request() -> tuple[bytes, str]:
    body, headers = binary_request(QUERY, (b"share a", b"share b"))
    return body, headers[BINARY]
