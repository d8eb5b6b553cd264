"""What fuzzing has found, so that it stays mended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from time import process_time

import pytest

from libmpc.client.http import parse_object
from libmpc.errors import IntegrityError, ModelError, ServiceError
from libmpc.graph.plan import Plan
from libmpc.link import LinkError
from libmpc.party.epoch import EpochReport
from libmpc.party.messages import (
    MAX_BATCH_QUERIES,
    Batch,
    Commit,
    ModelList,
    Refusal,
    RunAbort,
    RunHeader,
)
from libmpc.party.sync import CatalogReport
from libmpc.wire import Manifest, Signed, WireError
from services.gateway.tensors import parse_infer
from tests.fuzz.targets_wire import H32, OWNER, PLAN, controls, documents
from tests.services.http2 import Collector, server
from tests.services.raw import GOAWAY, frame, raw
from tests.services.test_http2_flow import Streams

MIB = 1 << 20


def _infer(data: bytes) -> object:
    return parse_infer(bytearray(data), None, 32 * MIB)


READERS: dict[str, Callable[[bytes], object]] = {
    "entries": Batch.parse,
    "models": ModelList.parse,
    "deleted": CatalogReport.parse,
    "receipts": Commit.parse,
    "slices": RunHeader.parse,
    "refused": RunAbort.parse,
    "transcripts": EpochReport.parse,
    "document": Signed.parse,
    "share_hashes": Manifest.parse,
    "steps": Plan.from_json,
    "parameters": _infer,
    "libmpc": parse_object,
}
WRONG = (WireError, ModelError, ServiceError, IntegrityError)


def _lists(field: str, count: int) -> Iterable[bytes]:
    for item in ("{}", "0", "[]", '{"a":0}'):
        yield f'{{"{field}":[{",".join([item] * count)}]}}'.encode()
    names = ",".join(f'"{number}":0' for number in range(count))
    yield ("{" + names + "}").encode()
    yield f'{{"{field}":{{{names}}}}}'.encode()


@pytest.mark.parametrize("field", READERS)
@pytest.mark.parametrize("count", [60_000, 400_000])
def test_many_wrong_values_are_refused_at_once(field: str, count: int) -> None:
    """4 MB of empty objects took a party 120 s and 5 GB: each was described, in full."""
    for data in _lists(field, count):
        begin = process_time()
        # A client only looks for what it knows, and takes what is left for an answer.
        if field != "libmpc" or count > 1 << 16:
            with pytest.raises(WRONG):
                READERS[field](data)
        assert process_time() - begin < 3


def test_the_largest_genuine_messages_are_still_taken() -> None:
    entry = json.loads(controls()["Batch"].encode())["entries"][0]
    entry["header"]["shape"] = [1] * 9
    batch = {"model": H32, "timeout_ms": 1, "entries": [entry] * MAX_BATCH_QUERIES}
    assert len(Batch.parse(json.dumps(batch).encode()).entries) == MAX_BATCH_QUERIES
    report = json.loads(controls()["CatalogReport"].encode())
    report["models"] *= 1500
    assert len(CatalogReport.parse(json.dumps(report).encode()).models) == 1500
    steps = json.loads(PLAN.to_json())["steps"]
    conv = {
        "op": "conv", "source": 0, "height": 9, "width": 9, "channels": 9, "filters": 9,
        "kernel": [3, 3], "strides": [1, 1], "dilation": [1, 1], "padding": [[1, 1], [1, 1]],
    }  # fmt: skip
    largest = json.dumps(steps[:1] + [conv] * 4094 + steps[-1:]).encode()
    assert largest.count(b",") < 1 << 17
    manifest = documents()["manifest"]
    plan = json.dumps({"steps": [conv] * 4096})
    again = manifest.model_copy(update={"plan": plan})
    assert Manifest.parse(again.encode()).plan == plan
    assert Signed.parse(OWNER.sign_document(again).encode())


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-Infinity", "1e300", "-1"])
def test_a_party_cannot_name_an_impossible_pause(seconds: str) -> None:
    """The gateway would have answered 500 to its client."""
    with pytest.raises(WireError):
        Refusal.parse(b'{"status":503,"error":"no","retry_after":%b}' % seconds.encode())


def test_a_goaway_with_a_code_that_nobody_knows_ends_the_link() -> None:
    """It ended the connection with an exception in the event loop."""
    unhandled: list[object] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: unhandled.append(what))
        streams = Streams()
        async with server(None, streams) as port, raw(port) as link:
            await link.open_link()
            stream = await streams.opened.get()
            sink = Collector()
            stream.attach(sink)
            link.write(frame(GOAWAY, 0, 0, bytes(4) + (999).to_bytes(4, "big")))
            error = await sink.ended
            assert isinstance(error, LinkError)
            assert error.reason == "the peer says code 999"
            await stream.close()

    asyncio.run(main())
    assert not unhandled
