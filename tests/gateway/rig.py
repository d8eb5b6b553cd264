"""A gateway's application between an HTTP client and three fake parties, without a socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from libmpc.access import AccessStore, Role, make_grant
from libmpc.identity.token import token_sha256
from libmpc.link import GATEWAY, Link, connect
from libmpc.wire.headers import QueryHeader
from libmpc.wire.lifetime import to_millis
from services.gateway.app import make_app
from services.gateway.gateway import Gateway
from services.gateway.settings import GatewaySettings
from tests.gateway.fakes import MODEL, FakeParty, ManualTimers, Network
from tests.link.support import DEPLOYMENT, identity, remote
from tests.manual_clock import ManualClock

TOKEN = "a token for tests"
SHARES = (b"first envelope", b"the second envelope")
BINARY = "Inference-Header-Content-Length"
_numbers = itertools.count(1)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test; nothing in it waits for real time, so a minute means that it hangs."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await work

    asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something is so."""
    while not condition():  # noqa: ASYNC110, what it looks at has no events
        await asyncio.sleep(0)


def settings(**changes: object) -> GatewaySettings:
    values: dict[str, object] = {
        "deployment": Path("deployment.yaml"),
        "keys": Path("keys"),
        "data": Path("data"),
        "token_sha256": SecretStr(token_sha256(TOKEN)),
    }
    return GatewaySettings(**(values | changes))  # type: ignore[arg-type]


@dataclass
class Rig:
    """Everything a test may touch.

    Attributes:
        parties: those of triple 0.
        triples: all parties, by triple.
    """

    gateway: Gateway
    parties: list[FakeParty]
    triples: list[list[FakeParty]]
    client: httpx.AsyncClient
    clock: ManualClock
    timers: ManualTimers
    app: Any
    store: AccessStore

    @contextlib.asynccontextmanager
    async def bearing(self, token: str) -> AsyncIterator[Rig]:
        """The same gateway, as whoever has that token sees it."""
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url="http://gateway", headers=headers
        ) as client:
            yield replace(self, client=client)

    def token(self, role: Role, name: str = "somebody", **limits: Any) -> str:
        """A new token."""
        token, grant = make_grant(name, role, to_millis(self.clock.now()), **limits)
        self.store.add(grant)
        return token.get_secret_value()

    async def linked(self) -> None:
        for triple in self.gateway.router.triples:
            for link in triple.links:
                await link.wait_up()
        await until(lambda: all(party.links for each in self.triples for party in each))

    async def infer(self, name: str = "digits", **kwargs: Any) -> httpx.Response:
        content, headers = binary_request(**kwargs)
        url = f"/v2/models/{name}/infer"
        return await self.client.post(url, content=content, headers=headers)

    def infer_soon(self, **kwargs: Any) -> asyncio.Task[httpx.Response]:
        return asyncio.ensure_future(self.infer(**kwargs))

    @contextlib.asynccontextmanager
    async def another_client(self, host: str) -> AsyncIterator[Rig]:
        """The same gateway, as a client of another address sees it."""
        transport = httpx.ASGITransport(app=self.app, client=(host, 1))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://gateway", headers=self.client.headers
        ) as client:
            yield replace(self, client=client)

    async def lose(self, party: int, triple: int = 0) -> None:
        """A party dies; returns once the gateway knows."""
        link = self.gateway.router.triples[triple].links[party]
        self.triples[triple][party].down = True
        await self.triples[triple][party].lose()
        await until(lambda: not link.up)


@contextlib.asynccontextmanager
async def rig(
    data: Path | None = None, triples: int = 1, spare: int = 0, **changes: object
) -> AsyncIterator[Rig]:
    """A gateway that is linked to all its parties.

    Args:
        data: where its tokens are; by default a new directory.
        spare: triples that are there and that the gateway does not know yet.
    """
    fakes = [[FakeParty(index, triple) for index in range(3)] for triple in range(triples + spare)]
    networks = [Network(parties) for parties in fakes]
    clock, timers = ManualClock(), ManualTimers()

    async def dial(party: int, triple: int) -> Link:
        local = identity(GATEWAY)
        stream = networks[triple].open(party)
        return await connect(stream, local, remote(identity(party)), clock=clock)

    files = tempfile.TemporaryDirectory()
    chosen = settings(data=data or Path(files.name), **changes)
    gateway = Gateway(chosen, DEPLOYMENT, dial, clock=clock, timers=timers, triples=triples)
    app = make_app(gateway)
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://gateway",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    gateway.start()
    made = Rig(gateway, fakes[0], fakes[:triples], client, clock, timers, app, gateway.store)
    await made.linked()
    made.triples = fakes
    try:
        async with client:
            yield made
    finally:
        await gateway.close()
        for network in networks:
            await network.close()
        files.cleanup()


def header(**changes: object) -> QueryHeader:
    values: dict[str, object] = {
        "model": MODEL,
        "number": f"{next(_numbers):032x}",
        "expires_ms": 1_000_300_000,
        "shape": (1, 4),
        "key_ids": ("00" * 8, "11" * 8),
    }
    return QueryHeader.model_validate(values | changes)


def parameters(query: QueryHeader, **more: object) -> dict[str, object]:
    return {"libmpc_header": json.loads(query.encode()), **more}


def element(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def tensor(name: str, **fields: object) -> dict[str, object]:
    return {"name": name, "datatype": "BYTES", "shape": [1], **fields}


def binary_request(
    query: QueryHeader | None = None,
    shares: tuple[bytes, bytes] = SHARES,
    top: dict[str, object] | None = None,
    **more: object,
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a query in the binary encoding; ``more`` are parameters."""
    inputs = [
        tensor(f"share{i}", parameters={"binary_data_size": 4 + len(share)})
        for i, share in enumerate(shares)
    ]
    document = {"parameters": parameters(query or header(), **more), "inputs": inputs}
    head = json.dumps(document | (top or {})).encode()
    body = head + b"".join(map(element, shares))
    return body, {BINARY: str(len(head))}


def json_request(
    query: QueryHeader | None = None, shares: tuple[bytes, bytes] = SHARES, **more: object
) -> dict[str, object]:
    """A query as JSON only."""
    inputs = [
        tensor(f"share{i}", data=[base64.b64encode(share).decode()])
        for i, share in enumerate(shares)
    ]
    return {"parameters": parameters(query or header(), **more), "inputs": inputs}


def binary_answer(response: httpx.Response) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON and the tensors of a binary answer."""
    size = int(response.headers[BINARY])
    document, data = json.loads(response.content[:size]), response.content[size:]
    found = []
    for output in document["outputs"]:
        length = output["parameters"]["binary_data_size"]
        assert int.from_bytes(data[:4], "little") == length - 4
        found.append(data[4:length])
        data = data[length:]
    assert not data
    return document, found
