"""A fake deployment with several triples behind one gateway."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.wire.headers import QueryHeader
from libmpc.wire.keys import PartyKey
from tests.client.counting import Counting
from tests.client.fake import LENGTH, FakeDeployment


@dataclass
class FakeTriples(FakeDeployment):
    """As ``FakeDeployment``; each triple has keys and evaluations of its own.

    Attributes:
        order: the triples whose keys are handed out, in this order.
        down: those that answer nothing, with the error's code.
        hints: what answers say of the next query, one after the other.
        asked: the triples of all queries that have come.
    """

    order: list[int] = field(default_factory=lambda: [0, 1, 2])
    down: dict[int, str] = field(default_factory=dict)
    hints: list[int | str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sets: dict[int, list[HpkeKeys]] = {
            triple: [self.new_keys(party) for party in range(3)] for triple in range(3)
        }
        self.countings = {triple: Counting(self.deployment.id) for triple in range(3)}

    def key_sets(self) -> dict[str, Any]:
        first, *more = [
            {"triple": triple, "keys": [keys.current().to_json() for keys in self.sets[triple]]}
            for triple in self.order
        ]
        return {**first, "more": more}

    def metadata(self, name: str) -> dict[str, Any]:
        found = super().metadata(name)
        return {"name": name, "libmpc": {**found["libmpc"], **self.key_sets()}}

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v2/keys":
            return httpx.Response(200, json=self.key_sets())
        return super().answer(request)

    def push(self, name: str, body: bytes) -> httpx.Response:
        self.keys = self.sets[0]
        return super().push(name, body)

    def infer(self, name: str, request: httpx.Request) -> httpx.Response:
        document = json.loads(request.content[: int(request.headers[LENGTH])])
        header = QueryHeader.parse(json.dumps(document["parameters"]["libmpc_header"]).encode())
        triple = next(t for t, keys in self.sets.items() if _id(keys[0]) == header.key_ids[0])
        self.asked.append(triple)
        if triple in self.down:
            document = {"error": f"triple {triple} is lost", "code": self.down[triple]}
            return httpx.Response(503, json=document, headers={"Retry-After": "1"})
        self.keys, self.counting = self.sets[triple], self.countings[triple]
        answer = super().infer(name, request)
        if self.hints:
            answer.headers["Libmpc-Triple"] = str(self.hints.pop(0))
        return answer


def _id(keys: HpkeKeys) -> str:
    return PartyKey.parse(keys.current().document).key_id
