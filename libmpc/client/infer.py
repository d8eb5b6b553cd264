"""The body of an inference request and of its answer, as the Open Inference Protocol has them.

The sealed shares travel as BYTES tensors with the binary tensor extension: after the JSON come the
elements in the order in which it names them, each a u32 length (little-endian) and its bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Protocol, TypeVar

from libmpc.client.http import Response, parse_object
from libmpc.errors import IntegrityError
from libmpc.wire.headers import QueryHeader

HEADER = "Inference-Header-Content-Length"
_MALFORMED = "the gateway's answer to a query is malformed, or was cut off on its way"

T_co = TypeVar("T_co", covariant=True)


class Sealed(Protocol[T_co]):
    """Something that can be sent once, and what opens the two replies to it."""

    @property
    def header(self) -> QueryHeader: ...
    @property
    def envelopes(self) -> tuple[bytes, bytes]: ...
    @property
    def reply_bytes(self) -> int: ...
    def open(self, reply0: bytes, reply1: bytes) -> T_co: ...


def encode_infer(query: Sealed[Any], timeout: float) -> tuple[dict[str, str], tuple[bytes, ...]]:
    """Headers and body of a request; ``timeout`` is in seconds."""
    inputs = [
        {
            "name": f"share{party}",
            "datatype": "BYTES",
            "shape": [1],
            "parameters": {"binary_data_size": 4 + len(envelope)},
        }
        for party, envelope in enumerate(query.envelopes)
    ]
    parameters = {
        "libmpc_header": query.header.model_dump(mode="json"),
        "binary_data_output": True,
        "timeout": max(1, int(timeout * 1e6)),  # microseconds, as Triton has it
    }
    head = json.dumps({"parameters": parameters, "inputs": inputs}).encode()
    headers = {HEADER: str(len(head)), "Content-Type": "application/octet-stream"}
    body = [head]
    for envelope in query.envelopes:
        body += (len(envelope).to_bytes(4, "little"), envelope)
    return headers, (b"".join(body),)


def decode_infer(response: Response) -> tuple[bytes, bytes]:
    """Both evaluators' sealed replies; the gateway may have chosen binary or base64.

    Raises:
        IntegrityError: the answer is malformed.
    """
    size = response.headers.get(HEADER.lower(), str(len(response.body)))
    if not (size.isascii() and size.isdigit()) or len(size) > 12 or int(size) > len(response.body):
        raise IntegrityError(_MALFORMED)
    outputs = parse_object(response.body[: int(size)]).get("outputs")
    if not isinstance(outputs, list):
        raise IntegrityError(_MALFORMED)
    found: dict[str, bytes] = {}
    rest = response.body[int(size) :]
    for output in outputs:
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise IntegrityError(_MALFORMED)
        data, rest = _element(output, rest)
        found[output["name"]] = data
    if found.keys() != {"logits0", "logits1"} or rest:
        raise IntegrityError(_MALFORMED)
    return found["logits0"], found["logits1"]


def _element(output: dict[str, Any], rest: bytes) -> tuple[bytes, bytes]:
    parameters = output.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        data = output.get("data")
        if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], str):
            raise IntegrityError(_MALFORMED)
        try:
            return base64.b64decode(data[0], validate=True), rest
        except (ValueError, binascii.Error):
            raise IntegrityError(_MALFORMED) from None
    if type(size) is not int or not 4 <= size <= len(rest):
        raise IntegrityError(_MALFORMED)
    if int.from_bytes(rest[:4], "little") != size - 4:
        raise IntegrityError(_MALFORMED)
    return rest[4:size], rest[size:]
