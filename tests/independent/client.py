"""A client from docs/wire.md and docs/protocol.md alone: nothing here comes from the library.

Short rather than robust: one query, no retries, no pooled connections. Where it and libmpc
disagree, one of the two or the documentation is wrong.
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import secrets
import ssl
import struct
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tests.independent.formats import (
    SUITE,
    combine,
    deployment_id,
    encode,
    expand_seed,
    pack,
    query_info,
    query_plaintext,
    reply_info,
    require,
    split_reply,
    verify,
)

LIFETIME_MS = 5 * 60 * 1000

# ---- docs/wire.md: Deployment file


@dataclass(frozen=True)
class Deployment:
    id: bytes
    signing_keys: tuple[bytes, ...]
    url: str
    authorities: str
    token: str = field(repr=False)


def read_deployment(path: Path) -> Deployment:
    public = yaml.safe_load(path.read_text())
    require(public.get("credentials") is not None, "the deployment file names no credentials")
    secret = yaml.safe_load((path.parent / public["credentials"]).read_text())
    require(public["version"] == 1 and secret["version"] == 1, "another version of a file")
    parties = sorted(public["parties"], key=lambda party: party["index"])
    require([party["index"] for party in parties] == [0, 1, 2], "not the parties 0, 1 and 2")
    keys = [
        (bytes.fromhex(party["static_key"]), bytes.fromhex(party["signing_key"]))
        for party in parties
    ]
    ours = deployment_id(public["name"], keys)
    require(secret["deployment"] == ours.hex(), "credentials of another deployment")
    url, signing = public["gateways"][0]["url"], tuple(key for _, key in keys)
    return Deployment(ours, signing, url, public["tls_ca"], secret["token"])


# ---- docs/wire.md: REST API


def call(
    where: Deployment, method: str, route: str, body: bytes = b"", headers: Mapping[str, str] = {}
) -> tuple[bytes, int | None]:
    """The answer's body, and the length of its JSON part where binary data follows it."""
    url = urllib.parse.urlsplit(where.url)
    tls = ssl.create_default_context(cadata=where.authorities)
    connection = http.client.HTTPSConnection(url.hostname or "", url.port, context=tls, timeout=60)
    try:
        all_headers = {"Authorization": f"Bearer {where.token}", **headers}
        connection.request(method, route, body or None, all_headers)
        answer = connection.getresponse()
        content = answer.read()
        require(answer.status == 200, f"{route}: {answer.status} {content[:500]!r}")
        length = answer.getheader("Inference-Header-Content-Length")
        return content, None if length is None else int(length)
    finally:
        connection.close()


def signed(label: str, container: Mapping[str, str], key: bytes) -> tuple[bytes, dict[str, Any]]:
    document = base64.b64decode(container["document"], validate=True)
    signature = base64.b64decode(container["signature"], validate=True)
    return document, verify(label, document, signature, key)


@dataclass(frozen=True)
class Verified:
    """What both evaluators say of a model, and the short-lived keys of parties 0 and 1."""

    descriptor: dict[str, Any]
    keys: tuple[dict[str, Any], ...]


def check_model(where: Deployment, name: str, metadata: Mapping[str, Any]) -> Verified:
    described = [
        signed("descriptor", container, key)
        for container, key in zip(metadata["descriptor"], where.signing_keys[:2], strict=True)
    ]
    require(described[0][0] == described[1][0], "the evaluators describe different models")
    descriptor = described[0][1]
    require(descriptor["name"] == name, "the descriptor of another model")
    require(descriptor["deployment"] == where.id.hex(), "a descriptor of another deployment")
    keys = []
    both = zip(metadata["keys"], where.signing_keys, strict=True)
    for party, (container, signing_key) in enumerate(both):
        _, key = signed("party key", container, signing_key)
        require(key["deployment"] == where.id.hex(), "a key of another deployment")
        require(key["party"] == party, "a key of another party")
        require(time.time() * 1000 < key["not_after_ms"], "a key that is too old")
        keys.append(key)
    return Verified(descriptor, tuple(keys[:2]))


def seal(
    where: Deployment, verified: Verified, x: npt.NDArray[np.float64]
) -> tuple[dict[str, Any], list[bytes], X25519PrivateKey]:
    """The query's header, both envelopes, and the key that opens the replies."""
    low, high = verified.descriptor["input_range"]
    require(list(x.shape[1:]) == verified.descriptor["input_shape"], "another input shape")
    require(bool(np.all((low <= x) & (x <= high))), "values outside the model's range")
    header = {
        "version": 1,
        "model": verified.descriptor["model"],
        "number": secrets.token_hex(16),
        "expires_ms": time.time_ns() // 10**6 + LIFETIME_MS,
        "shape": list(x.shape),
        "key_ids": [key["key_id"] for key in verified.keys],
    }
    seed, tag, reply_key = (
        secrets.token_bytes(32),
        secrets.token_bytes(16),
        X25519PrivateKey.generate(),
    )
    rest = encode(x).reshape(-1) - expand_seed(seed, x.size)
    public = reply_key.public_key().public_bytes_raw()
    envelopes = [
        SUITE.encrypt(
            query_plaintext(tag, public, party, payload),
            X25519PublicKey.from_public_bytes(bytes.fromhex(verified.keys[party]["public_key"])),
            query_info(where.id, header, party),
        )
        for party, payload in enumerate((seed, pack(rest)))
    ]
    return header, envelopes, reply_key


def infer(
    where: Deployment,
    name: str,
    header: Mapping[str, Any],
    envelopes: Sequence[bytes],
    binary: bool,
) -> list[bytes]:
    """Posts both envelopes and returns both sealed replies."""
    inputs: list[dict[str, Any]] = []
    elements = b""
    for party, envelope in enumerate(envelopes):
        tensor: dict[str, Any] = {"name": f"share{party}", "datatype": "BYTES", "shape": [1]}
        if binary:
            element = struct.pack("<I", len(envelope)) + envelope
            tensor["parameters"] = {"binary_data_size": len(element)}
            elements += element
        else:
            tensor["data"] = [base64.b64encode(envelope).decode()]
        inputs.append(tensor)
    text = json.dumps({"parameters": {"libmpc_header": header}, "inputs": inputs}).encode()
    headers = {"Content-Type": "application/json"}
    if binary:
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(text)),
        }
    answer, length = call(where, "POST", f"/v2/models/{name}/infer", text + elements, headers)
    require((length is not None) == binary, "the answer came in the other encoding")
    rest = b"" if length is None else answer[length:]
    replies: dict[str, bytes] = {}
    for output in json.loads(answer[:length])["outputs"]:
        require(output["datatype"] == "BYTES" and output["shape"] == [1], "another kind of output")
        if binary:
            size = output["parameters"]["binary_data_size"]
            require(struct.unpack_from("<I", rest)[0] + 4 == size, "the sizes do not fit")
            replies[output["name"]], rest = rest[4:size], rest[size:]
        else:
            replies[output["name"]] = base64.b64decode(output["data"][0], validate=True)
    require(set(replies) == {"logits0", "logits1"} and not rest, "other outputs")
    return [replies["logits0"], replies["logits1"]]


def query(
    path: Path, name: str, x: npt.ArrayLike, *, binary: bool = False
) -> npt.NDArray[np.float64]:
    """Logits of a batch, shape (batch, *output_shape); sends nothing before all is verified."""
    where = read_deployment(path)
    server = json.loads(call(where, "GET", "/v2")[0])
    require(server["wire"].split(".")[0] == "1", "the gateway speaks another major version")
    metadata = json.loads(call(where, "GET", f"/v2/models/{name}")[0])["libmpc"]
    verified = check_model(where, name, metadata)
    values = np.asarray(x, np.float64)
    header, envelopes, reply_key = seal(where, verified, values)
    shape = (len(values), *verified.descriptor["output_shape"])
    replies = [
        split_reply(
            SUITE.decrypt(reply, reply_key, reply_info(where.id, header, party)), math.prod(shape)
        )
        for party, reply in enumerate(infer(where, name, header, envelopes, binary))
    ]
    return combine(replies).reshape(shape)
