"""A whole deployment in a test: real keys, catalogs and envelopes behind the gateway's REST.

Where the parties would compute on shares, this one adds both halves up and asks the reference.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from libmpc.cluster.policy import Policy
from libmpc.cluster.push import make_push
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, is_made, make_all
from libmpc.errors import LibmpcError, ModelNotFoundError
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.model import Model, build_model
from libmpc.graph.nodes import FinalActivation
from libmpc.graph.reference import run_reference
from libmpc.graph.tail import with_output
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.token import is_token, token_sha256
from libmpc.outputs import parse as parse_output
from libmpc.party.catalog import Catalog
from libmpc.party.gateways import refuse
from libmpc.party.store import Store
from libmpc.ring import pack, unpack
from libmpc.sealing.hpke_keys import HpkeKeys
from libmpc.sealing.seal import seal
from libmpc.shares import AdditiveShare, expand_seed, new_seed, reconstruct, split_bits
from libmpc.wire import (
    Command,
    Kind,
    PushHeader,
    PushPlaintext,
    QueryHeader,
    QueryPlaintext,
    ReplyPlaintext,
    Signed,
    push_info,
    query_info,
    reply_info,
)
from tests.client.counting import Counting, label_bits

LENGTH = "Inference-Header-Content-Length"
Hook = Callable[[httpx.Request], httpx.Response | None]


class StepClock:
    """A clock on which every pause passes at once, and is noted."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.start = start
        self.passed = 0.0
        self.pauses: list[float] = []
        self._lock = threading.Lock()

    def now(self) -> float:
        return self.start + self.passed

    def monotonic(self) -> float:
        return self.passed

    def pause(self, seconds: float) -> None:
        with self._lock:
            self.pauses.append(seconds)
            self.passed += seconds

    async def sleep(self, seconds: float) -> None:
        self.pause(seconds)


def tiny_model(
    outputs: int = 3,
    seed: int = 1,
    name: str = "tiny",
    final: FinalActivation | None = None,
) -> Model:
    """A dense layer, ReLU and another dense layer, for inputs of shape (2, 2, 1)."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder((2, 2, 1))
    flat = b.reshape("flat", b.input, (4,))
    hidden = b.relu("relu", b.dense("first", flat, rng.normal(size=(4, 5)), rng.normal(size=5)))
    y = b.dense("second", hidden, rng.normal(size=(5, outputs)), rng.normal(size=outputs))
    if final is not None:
        y = b.final("last", y, final)
    return build_model(b.graph(y), (0, 1), name=name)


def images(batch: int = 5, seed: int = 2) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(seed).random((batch, 2, 2, 1))


@dataclass
class FakeDeployment:
    """Keys on disk, three catalogs, and a handler for ``httpx.MockTransport``.

    Attributes:
        before: called with every request; what they return is the answer.
        requests: method and path of all requests.
        numbers, seeds: of all queries that were opened.
    """

    directory: Path
    clock: StepClock = field(default_factory=StepClock)

    def __post_init__(self) -> None:
        if is_made(self.directory):
            self.deployment = Deployment.from_file(self.directory / "deployment.yaml")
        else:
            ports = LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7)
            self.deployment = make_all(self.directory, ports)
        self.path = self.directory / "deployment.yaml"
        credential = Credential.beside(self.path, self.deployment)
        assert credential is not None
        assert credential.token is not None
        self.owner = credential.signing_key
        self.token = credential.token.get_secret_value()
        self.signing = [
            PartyIdentity.load(self.directory / f"party{i}" / "keys").signing for i in range(3)
        ]
        self.stores = [Store(self.directory / f"party{i}" / "data") for i in range(3)]
        self.catalogs = [
            Catalog(i, self.deployment, self.stores[i], self.signing[i], self.clock)
            for i in range(3)
        ]
        self.models: dict[str, Model] = {}  # the oracle, by digest
        self.keys = [self.new_keys(i) for i in range(3)]
        self.before: list[Hook] = []
        self.requests: list[tuple[str, str]] = []
        self.numbers: list[str] = []
        self.seeds: list[bytes] = []
        self.lock = threading.Lock()
        self.counting = Counting(self.deployment.id)

    def new_keys(self, party: int) -> HpkeKeys:
        return HpkeKeys(self.signing[party], self.deployment.id, party, self.clock)

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def stored(self, name: str) -> str:
        """The digest of the model that has the name."""
        entry = self.catalogs[0].by_name(name)
        assert entry is not None
        return entry.record.model

    def restart(self, party: int) -> None:
        """New short-lived keys, as after a crash."""
        self.keys[party] = self.new_keys(party)

    def publish(
        self,
        model: Model,
        name: str = "tiny",
        *,
        replace: str | None = None,
        serve: bool = True,
        output: str = "logits",
    ) -> str:
        """Store a model at all three parties without any HTTP; returns its digest."""
        assert self.owner is not None
        policy = Policy(serve=serve, replace=replace, output=output)
        deployment, now = self.deployment.id, self.clock.now()
        push = make_push(model, name, deployment, self.owner, policy, now)
        receipts = [
            catalog.prepare(push.manifest, push.shares[i])
            for i, catalog in enumerate(self.catalogs)
        ]
        for catalog in self.catalogs:
            catalog.commit(push.model, receipts)
        self.models[push.model] = model
        return push.model

    # ---- the gateway

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        with self.lock:
            return self._handle(request)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append((request.method, request.url.path))
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not is_token(token, token_sha256(self.token)):
            return failure(401, "a token is needed")
        for hook in list(self.before):
            answer = hook(request)
            if answer is not None:
                return answer
        try:
            return self.answer(request)
        except LibmpcError as error:
            refusal = refuse(error)
            return failure(refusal.status, refusal.error, refusal.retry_after)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v2").strip("/").split("/")
        match (request.method, *path):
            case ("GET", ""):
                identity = {"name": "libmpc", "deployment": self.deployment.id.hex()}
                return httpx.Response(200, json={**identity, "wire": "1.0"})
            case ("GET", "keys"):
                return httpx.Response(200, json={"keys": self.announced()})
            case ("GET", "models"):
                return httpx.Response(200, json={"models": [self.state(n) for n in self.names()]})
            case ("GET", "models", name):
                return httpx.Response(200, json=self.metadata(name))
            case ("POST", "models", name, "infer"):
                return self.infer(name, request)
            case ("PUT", "models", name):
                return self.push(name, request.content)
            case ("POST", "models", name, ("serve" | "stop" | "delete") as action):
                signed = Signed.model_validate_json(request.content)
                assert Command.parse(signed.document).action == action
                for catalog in self.catalogs:
                    catalog.command(signed)
                return httpx.Response(200, json={})
        return failure(404, "there is no such route")

    def announced(self) -> list[Any]:
        return [keys.current().to_json() for keys in self.keys]

    def names(self) -> list[str]:
        return [entry.record.name for entry in self.catalogs[0].entries.values()]

    def state(self, name: str) -> dict[str, Any]:
        entry = self.catalogs[0].by_name(name)
        if entry is None:
            raise ModelNotFoundError(f"no model {name!r} is stored", status=404)
        record = entry.record
        return {
            "name": name,
            "model": record.model,
            "state": "serving" if record.serving else "stopped",
            "ready": record.serving,
            "num_requests": record.num_requests,
            "served": record.served,
        }

    def metadata(self, name: str) -> dict[str, Any]:
        state = self.state(name)
        entries = [self.catalogs[i].by_name(name) for i in (0, 1)]
        signed = [e.descriptor.to_json() for e in entries if e is not None and e.descriptor]
        return {"name": name, "libmpc": {**state, "descriptor": signed, "keys": self.announced()}}

    # ---- queries

    def infer(self, name: str, request: httpx.Request) -> httpx.Response:
        size = int(request.headers[LENGTH])
        document, binary = json.loads(request.content[:size]), request.content[size:]
        header = QueryHeader.parse(json.dumps(document["parameters"]["libmpc_header"]).encode())
        entry = self.catalogs[0].by_name(name)
        if entry is None or entry.record.model != header.model:
            return failure(404, f"no model {name!r} is stored")
        if not entry.record.serving:
            return failure(503, "the model is not ready: it is stopped", 5)
        opened = []
        for party, tensor in enumerate(document["inputs"]):
            assert tensor["name"] == f"share{party}"
            length = int.from_bytes(binary[:4], "little")
            assert tensor["parameters"]["binary_data_size"] == length + 4
            envelope, binary = binary[4 : 4 + length], binary[4 + length :]
            info = query_info(self.deployment.id, header, party)
            plain = self.keys[party].open(header.key_ids[party], info, envelope)
            bits = label_bits(self.models[header.model], header)
            opened.append(QueryPlaintext.parse(plain, header.values, bits))
        assert not binary
        return self.reply(header, opened)

    def reply(self, header: QueryHeader, opened: list[QueryPlaintext]) -> httpx.Response:
        if opened[0].evaluation is not None:
            replies, seed = self.counting.reply(self.models[header.model], header, opened)
            self.numbers.append(header.number)
            self.seeds += [seed] if seed else []
            return infer_answer(*self.tamper(replies))
        assert [plain.kind for plain in opened] == [Kind.SEED, Kind.PACKED]
        assert opened[0].tag == opened[1].tag
        assert opened[0].reply_key == opened[1].reply_key
        self.numbers.append(header.number)
        self.seeds.append(bytes(opened[0].payload))
        x0 = expand_seed(bytes(opened[0].payload), header.shape)
        x1 = unpack(opened[1].payload, header.values).reshape(header.shape)
        model = self.models[header.model]
        x = reconstruct(AdditiveShare(x0), AdditiveShare(x1))
        assert opened[0].output == opened[1].output
        kind = parse_output(opened[0].output)
        y = run_reference(with_output(model.plan, kind), model.weights, x)
        r = expand_seed(new_seed(), y.shape)
        halves = split_bits(y) if kind.in_bits else (y - r, r)
        digest = secrets.token_bytes(32)
        replies = []
        for party, share in enumerate(halves):
            plain = ReplyPlaintext(self.run_digest(digest, party), pack(share)).encode()
            info = reply_info(self.deployment.id, header.model, party, header.number)
            replies.append(seal(opened[party].reply_key, info, plain))
        return infer_answer(*self.tamper(replies))

    def run_digest(self, digest: bytes, party: int) -> bytes:
        return digest

    def tamper(self, replies: list[bytes]) -> list[bytes]:
        return replies

    # ---- pushes

    def push(self, name: str, body: bytes) -> httpx.Response:
        head, rest = take(body)
        header = PushHeader.parse(head)
        pushed = []
        for party in range(3):
            envelope, rest = take(rest)
            info = push_info(self.deployment.id, header, party)
            opened = self.keys[party].open(header.key_ids[party], info, envelope)
            pushed.append(PushPlaintext.parse(opened))
        assert not rest
        receipts = [
            catalog.prepare(one.manifest, bytes(one.share))
            for catalog, one in zip(self.catalogs, pushed, strict=True)
        ]
        for catalog in self.catalogs:
            catalog.commit(header.model, receipts)
        return httpx.Response(201, json={"name": name, "model": header.model})


def take(body: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(body[:4], "big")
    assert len(body) >= 4 + size
    return body[4 : 4 + size], body[4 + size :]


def failure(status: int, text: str, retry_after: float | None = None) -> httpx.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return httpx.Response(status, json={"error": text}, headers=headers)


def infer_answer(reply0: bytes, reply1: bytes, *, binary: bool = True) -> httpx.Response:
    outputs: list[dict[str, Any]] = []
    data = b""
    for party, reply in enumerate((reply0, reply1)):
        output: dict[str, Any] = {"name": f"logits{party}", "datatype": "BYTES", "shape": [1]}
        if binary:
            output["parameters"] = {"binary_data_size": len(reply) + 4}
            data += len(reply).to_bytes(4, "little") + reply
        else:
            output["data"] = [base64.b64encode(reply).decode()]
        outputs.append(output)
    head = json.dumps({"model_name": "m", "model_version": "1", "outputs": outputs}).encode()
    return httpx.Response(200, content=head + data, headers={LENGTH: str(len(head))})


def once(*answers: httpx.Response | Exception, suffix: str = "/infer") -> Hook:
    """Give these answers to the first requests to such a path, and none to later ones."""
    left = list(answers)

    def hook(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith(suffix) or not left:
            return None
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return hook
