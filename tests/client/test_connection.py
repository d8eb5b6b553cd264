"""Which deployment, which authorities, which token; and real sockets with TLS."""

from __future__ import annotations

import http.server
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from libmpc.client import Client, Connection
from libmpc.client.connection import VARIABLE
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all, move_all
from libmpc.errors import ConfigError, UnavailableError
from libmpc.graph.model import Model
from tests.client.fake import FakeDeployment, images


def test_a_path_a_directory_or_the_environment(
    fake: FakeDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for given in (fake.path, str(fake.path), fake.directory):
        connection = Connection.open(given)
        assert (connection.path, connection.token) == (fake.path, fake.token)
        assert connection.owner is not None
    with pytest.raises(ConfigError, match=r"no deployment.*LIBMPC_DEPLOYMENT"):
        Connection.open()
    monkeypatch.setenv(VARIABLE, str(fake.path))
    assert Connection.open().deployment == fake.deployment


def test_a_deployment_comes_without_secrets(fake: FakeDeployment) -> None:
    connection = Connection.open(fake.deployment)
    assert (connection.path, connection.token, connection.owner) == (None, None, None)
    assert Connection.open(fake.deployment, "a-token").token == "a-token"


def test_without_a_credential_file(fake: FakeDeployment) -> None:
    (fake.directory / "credentials.yaml").unlink()
    assert Connection.open(fake.path).token is None


def test_a_credential_file_that_others_can_read(fake: FakeDeployment) -> None:
    (fake.directory / "credentials.yaml").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        Client(fake.path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*deployment.yaml"):
        Client(tmp_path / "deployment.yaml")


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut"])
def test_tokens_that_are_none(fake: FakeDeployment, token: str) -> None:
    with pytest.raises(ConfigError, match="token is not one"):
        Client(fake.path, token=token)


def test_a_token_never_travels_in_the_clear(fake: FakeDeployment) -> None:
    def at(url: str) -> Deployment:
        (gateway,) = fake.deployment.gateways
        moved = gateway.model_copy(update={"url": url})
        return fake.deployment.model_copy(update={"gateways": (moved,)})

    with pytest.raises(ConfigError, match="not https"):
        Connection.open(at("http://gateway.example:80"), fake.token)
    assert Connection.open(at("http://127.0.0.1:80"), fake.token).token == fake.token
    assert Connection.open(at("http://gateway.example:80")).token is None


def test_the_next_gateway_follows(fake: FakeDeployment, model: Model) -> None:
    (gateway,) = fake.deployment.gateways
    others = ("https://one.example:1", "https://two.example:2")
    gateways = tuple(gateway.model_copy(update={"url": url}) for url in others)
    deployment = fake.deployment.model_copy(update={"gateways": gateways})
    asked = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        if request.url.host == "one.example":
            raise httpx.ConnectError("down")
        return fake.handle(request)

    transport = httpx.MockTransport(handle)
    with Client(deployment, token=fake.token, clock=fake.clock, transport=transport) as client:
        assert np.array_equal(client.query("tiny", images()), model.reference(images()))
        client.query("tiny", images())
    assert asked == ["one.example"] + ["two.example"] * 4


def test_proxies_are_for_elsewhere(fake: FakeDeployment) -> None:
    (gateway,) = fake.deployment.gateways
    far = gateway.model_copy(update={"url": "https://gateway.example:8443"})
    assert Connection.open(fake.path).is_local
    deployment = fake.deployment.model_copy(update={"gateways": (far,)})
    assert not Connection.open(deployment).is_local


def test_only_the_deployments_authorities_are_trusted(fake: FakeDeployment) -> None:
    context = Connection.open(fake.path).ssl_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == fake.deployment.tls_ca.count("BEGIN CERTIFICATE")


# ---- a real socket


class _Server(http.server.ThreadingHTTPServer):
    fake: FakeDeployment


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = dict(self.headers.items())
        request = httpx.Request(
            self.command, f"https://x{self.path}", headers=headers, content=body
        )
        answer = self.server.fake.handle(request)
        self.send_response(answer.status_code)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - http.server wants these names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(fake: FakeDeployment) -> Iterator[int]:
    """The fake deployment behind TLS on a port of this machine; its file names that port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.fake = fake
    keys = fake.directory / "gateway" / "keys"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "tls.crt", keys / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    found = server.server_address[1]
    assert isinstance(found, int)
    move_all(fake.directory, LocalPorts((1, 2, 3), (4, 5, 6), found))
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def test_over_tls(fake: FakeDeployment, model: Model, port: int) -> None:
    with Client(fake.path, clock=fake.clock) as client:
        for batch in (1, 3, 16_000):
            x = images(batch)
            assert np.array_equal(client.query("tiny", x), model.reference(x))


def test_a_deployment_file_of_another_deployment(
    fake: FakeDeployment, port: int, tmp_path: Path
) -> None:
    make_all(tmp_path / "other", LocalPorts((1, 2, 3), (4, 5, 6), port))
    with (
        Client(tmp_path / "other", clock=fake.clock) as client,
        pytest.raises(ConfigError, match="deployment file does not belong to this gateway"),
    ):
        client.query("tiny", images())
    assert fake.requests == []


def test_nobody_listens(fake: FakeDeployment, port: int) -> None:
    with socket.socket() as taken:  # bound and let go, so free
        taken.bind(("127.0.0.1", 0))
        free = taken.getsockname()[1]
    assert free != port
    copy = Path(shutil.copytree(fake.directory, fake.directory.parent / "copy"))
    move_all(copy, LocalPorts((1, 2, 3), (4, 5, 6), free))
    with (
        Client(copy, clock=fake.clock, retries=1) as client,
        pytest.raises(UnavailableError, match=f"127.0.0.1:{free} is not reachable"),
    ):
        client.query("tiny", images())
