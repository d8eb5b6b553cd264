"""Logs, metrics, traces, errors, what prints, and stored files of a real run hold no secret.

Inputs, weights, answers, tokens and keys are marks, looked for as bytes, in hexadecimal, in base64
at each of its three offsets, and as a program would print numbers.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import libmpc
from libmpc import data, shares
from libmpc.cluster import push
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.fixedpoint import encode
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.storage_keys import StorageKeys
from tests.privacy.views import packed
from tests.tracing.collector import Collector, collecting

SHORTEST = 10
pytestmark = pytest.mark.timeout(300)  # a whole cluster, from the start


@dataclass
class Marks:
    """What must not be found, by what it is."""

    found: dict[str, set[bytes]] = field(default_factory=dict)

    def add(self, what: str, raw: bytes) -> None:
        """Bytes, and all that people write them as."""
        texts = {raw, raw.hex().encode(), raw.hex().upper().encode()}
        for shift in range(3):
            whole = base64.b64encode(bytes(shift) + raw)
            texts.add(whole[4 if shift else 0 : -4])  # without what depends on neighbours
        texts |= {text.replace(b"+", b"-").replace(b"/", b"_") for text in texts}
        assert all(len(text) >= SHORTEST for text in texts), what
        self.found.setdefault(what, set()).update(texts)

    def add_text(self, what: str, text: str) -> None:
        """Text as it is; secret texts are long enough to be unique."""
        assert len(text) >= SHORTEST, text
        self.found.setdefault(what, set()).add(text.encode())

    def add_numbers(self, what: str, values: np.ndarray[Any, Any], scale: int) -> None:
        """Neighbours, in memory or on the wire, encoded or not, and printed."""
        encoded = encode(values, scale)
        for i in range(len(values) - 2):
            part, real = encoded[i : i + 3], values[i : i + 3]
            for raw in (packed(part), part.tobytes(), real.tobytes()):
                self.add(what, raw)
            self.add(what, real.astype(np.float32).tobytes())
            ints = part.astype(np.int64)
            for numbers in (part, ints, (part << np.uint64(16)).astype(np.int64) >> 16):
                for between in (", ", " ", ","):
                    self.add_text(what, between.join(map(str, numbers)))
        for value in values:
            self.add_text(what, f"{value:.15f}"[:14])

    def search(self, content: bytes) -> set[str]:
        """What of it is in ``content``."""
        return {what for what, texts in self.found.items() if any(t in content for t in texts)}


def private_bytes(path: Path) -> bytes:
    """A private key's own bytes."""
    if path.name == "storage.key":
        return StorageKeys.from_file(path).first.secret
    key: Any = load_pem_private_key(path.read_bytes(), password=None)
    if hasattr(key, "private_bytes_raw"):
        return bytes(key.private_bytes_raw())
    return int(key.private_numbers().private_value).to_bytes(32)


@dataclass
class Run:
    """A cluster that has answered and refused, with its logs as talkative as they get."""

    marks: Marks
    logs: dict[str, bytes]
    stored: dict[str, bytes]
    metrics: dict[str, bytes]
    traces: list[bytes]
    errors: list[str]
    printed: list[str]


def refusals(cluster: libmpc.LocalCluster, token: str, x: np.ndarray[Any, Any]) -> Iterator[str]:
    """What everybody says to misuse of every kind, with marked values in it."""
    address = Deployment.from_file(cluster.deployment).gateways[0].url
    verify = str(cluster.directory / "tls.pem")
    Path(verify).write_text(Deployment.from_file(cluster.deployment).tls_ca)
    with libmpc.Client(cluster.deployment) as client:
        for name, wrong in (
            ("digits", x[:, :5]),
            ("digits", np.where(x > 0, x * 1e6, np.nan)),
            ("digits", x * 1e9),
            ("nothing", x),
        ):
            with pytest.raises(libmpc.LibmpcError) as refused:
                client.query(name, wrong)
            yield f"{refused.value!s} {refused.value!r}"
    import ssl

    context = ssl.create_default_context(cafile=verify)
    with httpx.Client(base_url=address, verify=context) as http:
        for secret in (token, token[:-1] + "x"):
            head = {"Authorization": f"Bearer {secret}"}
            text = " ".join(map(str, x.ravel()))
            for method, path in (("POST", "/v2/models/digits/infer"), ("GET", f"/v2/{text[:40]}")):
                answer = http.request(method, path, headers=head, content=text.encode())
                assert answer.status_code >= 400
                yield answer.text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    home = tmp_path_factory.mktemp("marked")
    rng = np.random.default_rng(2026)
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    x = rng.uniform(0.1, 0.9, (4, *model.input_shape))
    marks = Marks()
    marks.add_numbers("input", x[2].ravel()[300:312], 16)
    records: list[str] = []
    kept = logging.Handler()
    kept.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    seeds: list[bytes] = []

    def new_seed() -> bytes:
        seeds.append(shares.new_seed())
        return seeds[-1]

    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(push, "new_seed", new_seed)
        patch.setenv("LIBMPC_PARTY_LOG_LEVEL", "debug")
        patch.setenv("LIBMPC_GATEWAY_LOG_LEVEL", "debug")
        patch.setenv("LIBMPC_GATEWAY_LOG_REQUESTS", "true")
        collector = stack.enter_context(collecting())
        provider = client_provider(collector)
        if provider is not None:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
            patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
            patch.setenv("LIBMPC_PARTY_TRACING", "true")
            patch.setenv("LIBMPC_GATEWAY_TRACING", "true")
        level = root.level
        root.addHandler(kept)
        root.setLevel(logging.DEBUG)
        stack.callback(root.removeHandler, kept)
        stack.callback(root.setLevel, level)
        with libmpc.LocalCluster(home) as cluster:
            credential = Credential.beside(
                cluster.deployment, Deployment.from_file(cluster.deployment)
            )
            assert credential is not None
            assert credential.token is not None
            token = credential.token.get_secret_value()
            served = cluster.share(model, "digits", serve=True)
            with libmpc.Client(cluster.deployment, tracing=provider) as client:
                answer = client.query("digits", x)
                printed = [repr(client), str(client)]
            errors = list(refusals(cluster, token, x))
            printed += [f"{v!r} {v!s}" for v in (cluster, served, credential, model)]
            printed += [repr(PartyIdentity.load(home / f"party{i}" / "keys")) for i in range(3)]
            if provider is not None:
                collector.wait_for("libmpc.party.query", 2)
            metrics = {name: scrape(port) for name, port in health_ports(cluster)}
        logs = {p.name: p.read_bytes() for p in (home / "logs").iterdir()}
    logs["client"] = "\n".join(records).encode()
    for weights, _ in model.weights.values():
        real = weights.ravel()[:12].astype(np.int64) / 2**16
        real = np.where(real > 2**30, real - 2**32, real)
        for i in range(8):
            part = weights.ravel()[i : i + 3]
            marks.add("weight", packed(part))
            marks.add("weight", part.tobytes())
            marks.add("weight", real[i : i + 3].tobytes())
    marks.add_numbers("answer", answer[2].ravel(), 32)
    marks.add("token", token.encode())
    assert credential.owner_key is not None
    marks.add("owner's key", bytes.fromhex(credential.owner_key.get_secret_value()))
    keys = sorted(home.glob("*/keys/*.key"))
    assert len(keys) >= 16
    for path in keys:
        marks.add(f"{path.parent.parent.name}/{path.name}", private_bytes(path))
    assert len(seeds) == 2
    for index, seed in enumerate(seeds):
        marks.add(f"seed {index}", seed)
    stored = {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}
    return Run(marks, logs, stored, metrics, collector.bodies, errors, printed)


def client_provider(collector: Collector) -> Any:
    """Where the client's spans go; ``None`` where OpenTelemetry is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    except ImportError:
        return None
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def health_ports(cluster: libmpc.LocalCluster) -> Iterator[tuple[str, int]]:
    for index in range(3):
        text = (cluster.directory / f"party{index}" / "party.yaml").read_text()
        found = re.search(r"health_port: (\d+)", text)
        assert found is not None
        yield f"party{index}", int(found[1])
    environment = Path(f"/proc/{cluster.processes['gateway']}/environ").read_bytes()
    found_there = re.search(rb"LIBMPC_GATEWAY_HEALTH_PORT=(\d+)", environment)
    assert found_there is not None
    yield "gateway", int(found_there[1])


def scrape(port: int) -> bytes:
    return httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().content


def test_the_search_finds_marks(run: Run) -> None:
    kinds = set(run.marks.found)
    assert {"input", "weight", "answer", "token", "owner's key"} < kinds
    noise = bytes(range(256)) * 100
    assert run.marks.search(noise) == set()
    for what, texts in run.marks.found.items():
        for text in sorted(texts)[::20]:
            assert what in run.marks.search(noise + text + noise)


@pytest.mark.parametrize("where", ["logs", "metrics"])
def test_holds_no_mark(run: Run, where: str) -> None:
    parts: dict[str, bytes] = getattr(run, where)
    expected = {"party0", "party1", "party2", "gateway"}
    assert {name.partition(".")[0] for name in parts} >= expected
    assert all(len(content) > 100 for content in parts.values())
    if where == "logs":
        assert b"DEBUG" in b"".join(parts.values()) or b"debug" in b"".join(parts.values())
    for name, content in parts.items():
        assert run.marks.search(content) == set(), name


def test_traces_hold_no_mark(run: Run) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    content = b"".join(run.traces)
    for name in (b"libmpc.client.query", b"libmpc.gateway.query", b"libmpc.party.query", b"rounds"):
        assert name in content
    assert run.marks.search(content) == set()


def test_requests_are_in_the_log(run: Run) -> None:
    """Else what it does not hold would say nothing of them."""
    lines = run.logs["gateway.log"].decode().splitlines()
    assert any("route=/v2/models/{name}/infer status=200" in line for line in lines)


@pytest.mark.parametrize("where", ["errors", "printed"])
def test_shows_no_mark(run: Run, where: str) -> None:
    texts: Sequence[str] = getattr(run, where)
    assert len(texts) >= 8
    assert all(texts)
    for text in texts:
        assert run.marks.search(text.encode()) == set(), text


def test_stored_files_hold_no_mark_but_their_own(run: Run) -> None:
    for name, content in run.stored.items():
        found = run.marks.search(content)
        if name == "credentials.yaml":
            assert found <= {"token", "owner's key"}
        elif "/keys/" not in name:
            assert found == set(), name
