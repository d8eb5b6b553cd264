"""Inference requests and answers of the Open Inference Protocol v2, in both encodings.

JSON: a BYTES tensor of one element has it in ``data``, as base64. Binary tensor data extension:
``Inference-Header-Content-Length`` says how long the JSON at the beginning of the body is; behind
it follows, for each tensor with a ``binary_data_size``, the element as u32 little-endian | bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from libmpc.errors import ServiceError
from libmpc.link import Buffer
from libmpc.wire.fields import too_many_values
from libmpc.wire.headers import QueryHeader
from services.gateway.errors import bad_request

INPUTS = ("share0", "share1")
OUTPUTS = ("logits0", "logits1")
HEADER_LENGTH = "Inference-Header-Content-Length"
TRIPLE = "Libmpc-Triple"
"""Of an answer: the triple to seal the next query for."""
MAX_HEADER_BYTES = 1 << 16
MAX_ID = 256
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed request. The envelopes are views of the body where that was binary.

    Attributes:
        timeout: seconds, where the request gave any.
        outputs: wanted tensors (0 or 1), each with whether it is wanted binary.
    """

    header: QueryHeader
    envelopes: tuple[Buffer, Buffer] = field(repr=False)
    id: str | None
    timeout: float | None
    outputs: tuple[tuple[int, bool], ...]


def parse_infer(body: bytearray, header_length: str | None, max_json: int) -> InferRequest:
    """Read a request's body.

    Args:
        header_length: the header ``Inference-Header-Content-Length``, if there was one.
        max_json: longest body accepted as JSON only: parsing it holds up everybody.

    Raises:
        ServiceError: it is not what the protocol says (400), or too long for JSON (413).
        WireError: the query's header is not valid.
    """
    document, binary = _split(body, header_length, max_json)
    header, timeout, all_binary = _parameters(document)
    envelopes = _inputs(document.get("inputs"), binary)
    identifier = document.get("id")
    if identifier is not None and not (isinstance(identifier, str) and len(identifier) <= MAX_ID):
        raise bad_request(f"id: a text of at most {MAX_ID} characters is expected")
    if all_binary is None:
        all_binary = header_length is not None
    outputs = _outputs(document.get("outputs"), all_binary)
    return InferRequest(header, envelopes, identifier, timeout, outputs)


def encode_infer(
    model: str, request: InferRequest, replies: Sequence[Buffer]
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer."""
    tensors: list[dict[str, Any]] = []
    data: list[Buffer] = []
    for index, binary in request.outputs:
        reply = replies[index]
        tensor: dict[str, Any] = {"name": OUTPUTS[index], "datatype": "BYTES", "shape": [1]}
        if binary:
            tensor["parameters"] = {"binary_data_size": _LENGTH_BYTES + len(reply)}
            data += (len(reply).to_bytes(_LENGTH_BYTES, "little"), reply)
        else:
            tensor["data"] = [base64.b64encode(reply).decode()]
        tensors.append(tensor)
    answer: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": tensors}
    if request.id is not None:
        answer["id"] = request.id
    head = json.dumps(answer, separators=(",", ":")).encode()
    if not data:
        return head, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join((head, *data)), headers


def _split(
    body: bytearray, header_length: str | None, max_json: int
) -> tuple[dict[str, Any], memoryview]:
    view = memoryview(body)
    if header_length is None:
        size, limit = len(body), max_json
    else:
        size, limit = _decimal(header_length), min(len(body), MAX_HEADER_BYTES)
    if size > limit:
        if header_length is None:
            text = f"JSON of more than {max_json} bytes; send binary tensor data instead"
            raise bad_request(text, 413)
        raise bad_request(f"{HEADER_LENGTH} is more than the body has, or {MAX_HEADER_BYTES}")
    head = bytes(view[:size])
    # Shares are two long texts: what has many values takes many times its length, for nothing.
    if too_many_values(head):
        raise bad_request("the body has too many values", 413)
    try:
        document = from_json(head, allow_inf_nan=False)
    except ValueError:
        raise bad_request("the body is not JSON") from None
    return _object(document, "the body"), view[size:]


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 12):
        raise bad_request(f"{HEADER_LENGTH} is no number")
    return int(text)


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise bad_request(f"{where}: a JSON object is expected")
    return value


def _list(value: object, where: str, longest: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > longest:
        raise bad_request(f"{where}: a list of at most {longest} is expected")
    return value


def _parameters(document: dict[str, Any]) -> tuple[QueryHeader, float | None, bool | None]:
    parameters = _object(document.get("parameters"), "parameters")
    header = _object(parameters.get("libmpc_header"), "parameters.libmpc_header")
    timeout = parameters.get("timeout")
    if timeout is not None and (type(timeout) is not int or not 0 < timeout < 1 << 53):
        raise bad_request("parameters.timeout: a whole number of microseconds is expected")
    binary = _flag(parameters, "binary_data_output")
    query = QueryHeader.parse(json.dumps(header).encode())
    return query, None if timeout is None else timeout / 1e6, binary


def _flag(parameters: dict[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad_request(f"{name}: true or false is expected")
    return value


def _inputs(value: object, binary: memoryview) -> tuple[Buffer, Buffer]:
    found: dict[str, Buffer] = {}
    for item in _list(value, "inputs", len(INPUTS)):
        tensor = _object(item, "inputs")
        name = tensor.get("name")
        if name not in INPUTS or name in found:
            raise _wrong_inputs()
        if tensor.get("datatype") != "BYTES" or tensor.get("shape") != [1]:
            raise bad_request(f"{name}: datatype BYTES and shape [1] are expected")
        parameters = _object(tensor.get("parameters", {}), f"{name}.parameters")
        size = parameters.get("binary_data_size")
        if size is None:
            found[name] = _base64(tensor.get("data"), name)
        elif "data" in tensor:
            raise bad_request(f"{name}: either data or binary data, not both")
        else:
            found[name], binary = _element(binary, size, name)
    if len(found) != len(INPUTS):
        raise _wrong_inputs()
    if len(binary):
        raise bad_request("the body has more binary data than its inputs")
    return found[INPUTS[0]], found[INPUTS[1]]


def _wrong_inputs() -> ServiceError:
    return bad_request("inputs: share0 and share1 are expected, each once")


def _base64(data: object, name: str) -> bytes:
    if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], str):
        raise bad_request(f"{name}.data: a list of one base64 text is expected")
    try:
        return binascii.a2b_base64(data[0], strict_mode=True)
    except ValueError:
        raise bad_request(f"{name}.data: not base64") from None


def _element(binary: memoryview, size: object, name: str) -> tuple[memoryview, memoryview]:
    if type(size) is not int or not _LENGTH_BYTES <= size <= len(binary):
        raise bad_request(f"{name}.parameters.binary_data_size: more than the body has, or less")
    if int.from_bytes(binary[:_LENGTH_BYTES], "little") != size - _LENGTH_BYTES:
        raise bad_request(f"{name}: its one element does not have the length that it says")
    return binary[_LENGTH_BYTES:size], binary[size:]


def _outputs(value: object, binary: bool) -> tuple[tuple[int, bool], ...]:
    if value is None or value == []:
        return tuple((index, binary) for index in range(len(OUTPUTS)))
    wanted: dict[int, bool] = {}
    for item in _list(value, "outputs", len(OUTPUTS)):
        tensor = _object(item, "outputs")
        name = tensor.get("name")
        if name not in OUTPUTS or OUTPUTS.index(name) in wanted:
            raise bad_request("outputs: logits0 and logits1 are there, each once")
        parameters = _object(tensor.get("parameters", {}), f"{name}.parameters")
        flag = _flag(parameters, "binary_data")
        wanted[OUTPUTS.index(name)] = binary if flag is None else flag
    return tuple(wanted.items())
