"""What a client reads: the gateway's HTTP answers, its JSON, and the evaluators' replies."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import h11
import httpx
import numpy as np

from libmpc.client.card import ModelCard, parse_summaries, verify_card
from libmpc.client.http import Response, check
from libmpc.client.http1 import AnswerReader
from libmpc.client.sealed import SealedQuery, seal_query
from libmpc.deployment import Deployment
from libmpc.errors import IntegrityError, ServiceError
from libmpc.identity.signing import SigningKey
from libmpc.sealing.open import open_sealed
from libmpc.sealing.seal import seal
from libmpc.wire import (
    Descriptor,
    PartyKey,
    QueryPlaintext,
    ReplyPlaintext,
    query_info,
    reply_info,
)
from tests.fuzz.harness import MIB, Target, WrongError
from tests.fuzz.targets_wire import H8, H32, HPKE

NOW = 50.0
ID = bytes(range(16))
KEYS = [SigningKey.from_bytes(bytes([i]) * 32) for i in range(3)]


class _Party:
    def __init__(self, index: int) -> None:
        self.index, self.signing_keys = index, (KEYS[index].public,)


class _Deployment:
    """As much of a deployment as a client's checks look at."""

    id = ID
    parties = tuple(_Party(index) for index in range(3))


@cache
def _card() -> tuple[Descriptor, tuple[PartyKey, ...], dict[str, Any]]:
    descriptor = Descriptor(
        deployment=ID.hex(),
        name="digits",
        model=H32,
        input_shape=(4,),
        input_range=(0.0, 1.0),
        output_shape=(3,),
        range_status="proven",
        plan_digest=H32,
    )
    keys = tuple(
        PartyKey(
            deployment=ID.hex(),
            party=index,
            key_id=H8,
            not_before_ms=0,
            not_after_ms=3_600_000,
            public_key=HPKE.public_key().public_bytes_raw().hex(),
        )
        for index in range(3)
    )
    document = {
        "name": "digits",
        "libmpc": {
            "descriptor": [KEYS[i].sign_document(descriptor).to_json() for i in range(2)],
            "keys": [KEYS[i].sign_document(keys[i]).to_json() for i in range(3)],
            "state": "serving",
        },
    }
    return descriptor, keys, document


def _metadata(data: bytes) -> object:
    deployment: Deployment = _Deployment()  # type: ignore[assignment]
    found = verify_card(deployment, "digits", data, NOW)
    descriptor, keys, _ = _card()
    if found.descriptor != descriptor or found.keys != keys[:2]:
        raise WrongError("a descriptor or a key that no party signed")
    return found


def _models(data: bytes) -> object:
    found = parse_summaries(data)
    for one in found:
        if not (one.name + one.state + one.model).isprintable():
            raise WrongError("a text that is not fit for a terminal")
    return found


def _error(data: bytes) -> object:
    headers = {"retry-after": data[:20].decode("latin-1")}
    try:
        check("https://g:1", Response(503, headers, data))
    except ServiceError as error:
        if not str(error).isprintable():
            raise WrongError("a text that is not fit for a terminal") from None
        raise
    raise WrongError("an error was taken for a success")


def _http1(data: bytes) -> object:
    """Whatever pieces an answer comes in, it is the same; and the same as h11 finds."""
    found = []
    for size in (len(data) + 1, max(7, len(data) // 100)):
        reader, body = AnswerReader("POST"), b""
        for start in range(0, len(data), size):
            body += reader.feed(data[start : start + size])
            if reader.complete:
                break
        else:
            body += reader.feed(b"")
        found.append((reader.status, body))
    if found[0] != found[1]:
        raise WrongError("an answer in pieces is another one")
    other = _h11(data)
    if other is not None and found[0] != other:
        raise WrongError("h11 finds another answer")
    return found


def _h11(data: bytes) -> tuple[int, bytes] | None:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "any")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        connection.receive_data(data)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


@cache
def _query() -> tuple[SealedQuery, list[bytes]]:
    """A query, and what two honest evaluators answer."""
    descriptor, keys, _ = _card()
    card = ModelCard(descriptor, keys[:2], "serving", 0)
    query = seal_query(ID, card, np.ones((1, 4), np.uint64), NOW)
    replies = []
    for party, envelope in enumerate(query.envelopes):
        opened = open_sealed(HPKE, query_info(ID, query.header, party), envelope)
        plain = QueryPlaintext.parse(opened, 4)
        reply = ReplyPlaintext(bytes(32), bytes([party]) * 18).encode()
        info = reply_info(ID, H32, party, query.header.number)
        replies.append(seal(plain.reply_key, info, reply))
    return query, replies


def _replies(data: bytes) -> object:
    query, right = _query()
    replies = [data[: len(right[0])], data[len(right[0]) :]]
    found = query.open(*replies)
    if replies != right:
        raise WrongError("logits that no two parties computed")
    return found


def targets() -> list[Target]:
    models = {
        "models": [
            {
                "name": "digits",
                "model": H32,
                "state": "serving",
                "ready": True,
                "num_requests": None,
                "served": 3,
            }
        ]
    }
    answers = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 503 x\r\nConnection: close\r\nRetry-After: 1\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    ]
    tokens = [
        b"\r\n",
        b"\n",
        b": ",
        b"0\r\n\r\n",
        b"Content-Length: 9\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"\r\n\r\n",
        b"ffffffffffffffff\r\n",
    ]
    _, right = _query()
    return [
        Target(
            "client: metadata",
            [[json.loads(json.dumps(_card()[2]))]],
            _metadata,
            (IntegrityError, ServiceError),
        ),
        Target("client: list of models", [[models]], _models, (IntegrityError,)),
        Target("client: errors", [[{"error": "no"}]], _error, (ServiceError,), genuine=False),
        Target(
            "client: HTTP/1.1 answer",
            [[a] for a in answers],
            _http1,
            (httpx.RemoteProtocolError,),
            tokens=tokens,
            memory=8 * MIB,
        ),
        Target("client: sealed replies", [right], _replies, (IntegrityError,)),
    ]
