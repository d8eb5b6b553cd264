"""The gateway as a process of its own: TLS, ports, signals."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import libmpc
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all

CODE = (
    "import sys; from pathlib import Path; from services.gateway.main import run\n"
    "from libmpc.errors import ConfigError\n"
    "try: run(Path(sys.argv[1]))\n"
    "except ConfigError as error: sys.exit(str(error))"
)
SECONDS = 60


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


@pytest.fixture
def home(tmp_path: Path) -> Path:
    ports = free_ports(7)
    make_all(
        tmp_path,
        LocalPorts((ports[0], ports[1], ports[2]), (ports[3], ports[4], ports[5]), ports[6]),
    )
    return tmp_path


@pytest.fixture
def health_port() -> int:
    return free_ports(1)[0]


def start(home: Path, health_port: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(home / "gateway" / "gateway.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        env={
            "PATH": "",
            "PYTHONPATH": ":".join(sys.path),
            "LIBMPC_GATEWAY_HEALTH_PORT": str(health_port),
            **environment,
        },
    )


@pytest.fixture
def process(home: Path, health_port: int) -> Iterator[subprocess.Popen[str]]:
    child = start(home, health_port)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_live(url: str, child: subprocess.Popen[str], verify: ssl.SSLContext | bool = True) -> None:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        assert child.poll() is None, child.communicate()[1]
        try:
            assert httpx.get(url, verify=verify).status_code == 200
        except httpx.TransportError:
            time.sleep(0.05)  # there is nothing to wait for until the process listens
        else:
            return
    raise AssertionError("the gateway does not listen")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_and_stops(
    home: Path, health_port: int, process: subprocess.Popen[str], number: signal.Signals
) -> None:
    deployment = Deployment.from_file(home / "deployment.yaml")
    url = deployment.gateways[0].url
    trust = ssl.create_default_context(cadata=deployment.tls_ca)
    wait_live(url + "/v2/health/live", process, trust)
    credential = Credential.from_file(home / "credentials.yaml", deployment)
    assert credential.token is not None
    bearer = {"Authorization": f"Bearer {credential.token.get_secret_value()}"}
    with httpx.Client(verify=trust, base_url=url) as client:
        assert client.get("/v2").status_code == 401
        assert client.get("/v2", headers=bearer).json()["deployment"] == deployment.id.hex()
        response = client.get("/v2/models", headers=bearer)
        assert response.status_code == 503
        assert "not reachable" in response.json()["error"]
        internal = f"http://127.0.0.1:{health_port}"
        assert httpx.get(internal + "/health/live").status_code == 200
        assert httpx.get(internal + "/health/ready").status_code == 503
        metrics = httpx.get(internal + "/metrics").text
        assert 'libmpc_gateway_party_up{party="0",triple="0"} 0.0' in metrics
        began = time.monotonic()
        process.send_signal(number)  # with a connection that is kept alive
        assert process.wait(SECONDS) == 0
        assert time.monotonic() - began < 3
    assert process.stderr is not None
    log = process.stderr.read()
    assert "Traceback" not in log
    assert credential.token.get_secret_value() not in log


def test_tokens_over_the_network(
    home: Path, health_port: int, process: subprocess.Popen[str], tmp_path: Path
) -> None:
    """As an admin makes and revokes them with the command line, and as the operator does."""
    deployment = Deployment.from_file(home / "deployment.yaml")
    trust = ssl.create_default_context(cadata=deployment.tls_ca)
    url = deployment.gateways[0].url
    wait_live(url + "/v2/health/live", process, trust)

    def command(*arguments: object, where: Path = home) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "libmpc", "token", *map(str, arguments)]
        environment = {"PATH": "", "PYTHONPATH": ":".join(sys.path)}
        if "--config" not in arguments:
            environment["LIBMPC_DEPLOYMENT"] = str(where)
        return subprocess.run(line, capture_output=True, text=True, env=environment)

    folder = tmp_path / "clinic"
    made = command("create", "clinic", "--models", "mnist", "--out", folder, "--json")
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["id"]
    listed = json.loads(command("list", "--json").stdout)["tokens"]
    assert [one["name"] for one in listed] == ["owner", "client", "clinic"]
    # The client's own folder is all that it needs, and opens no more than it may.
    with libmpc.Client(folder, timeout=5) as client, pytest.raises(libmpc.UnavailableError):
        client.models()  # let in; no party runs here
    refused = command("list", where=folder)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "role 'admin'" in refused.stderr
    assert command("revoke", token).returncode == 0
    with libmpc.Client(folder) as client, pytest.raises(libmpc.AuthenticationError):
        client.models()
    # On the gateway's host, while it runs, without a token.
    config = ("--config", home / "gateway" / "gateway.yaml")
    operators = command("create", "second-boss", "--role", "admin", *config).stdout.strip()
    with libmpc.Cluster(home) as cluster:
        assert [state.name for state in cluster.tokens()][-1] == "second-boss"
        cluster.revoke_token(operators.split("_")[1])
        made_here = cluster.create_token("third", expires="1d", images=5)
        assert [state.images for state in cluster.tokens()] == [None, None, 5]
    with httpx.Client(verify=trust, base_url=url) as web:
        for secret, status in ((operators, 401), (made_here, 200)):
            headers = {"Authorization": f"Bearer {secret}"}
            assert web.get("/v2", headers=headers).status_code == status


def test_a_port_in_use(home: Path, health_port: int) -> None:
    port = int(Deployment.from_file(home / "deployment.yaml").gateways[0].url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)):
        child = start(home, health_port)
        _, log = child.communicate(timeout=SECONDS)
    assert child.returncode == 1
    assert f"port {port} is in use" in log
    assert "Traceback" not in log


def test_a_deployment_that_is_another_gateways(home: Path, health_port: int) -> None:
    other = home / "other"
    ports = free_ports(7)
    make_all(
        other, LocalPorts((ports[0], ports[1], ports[2]), (ports[3], ports[4], ports[5]), ports[6])
    )
    foreign = str(other / "gateway" / "deployment.yaml")
    child = start(home, health_port, LIBMPC_GATEWAY_DEPLOYMENT=foreign)
    _, log = child.communicate(timeout=SECONDS)
    assert child.returncode == 1
    assert "names no gateway with this gateway's key" in log
    assert "Traceback" not in log
