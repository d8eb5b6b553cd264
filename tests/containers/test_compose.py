"""``docker compose up``: what it leaves, what it answers, and how the containers are closed."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import data
from libmpc.graph.model import Model
from tests.cli.run import Cli
from tests.containers.stack import SERVICES, Stack, until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

_REACH = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def reach(place):
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return "closed"
    return "open"
places = sys.argv[1:]
with ThreadPoolExecutor(len(places)) as pool:
    for place, state in zip(places, pool.map(reach, places)):
        print(place, state)
"""
OUTSIDE = ["1.1.1.1:443", "example.org:443", "pypi.org:443"]


def test_push_and_query_equal_the_reference(
    stack: Stack, model: Model, digits: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """With what compose left on the host, and the commands that the documentation gives."""
    cli, where = Cli(capsys), ("--deployment", stack.compose.deployment)
    path = data.model_path("short-conv-mnist.h5")
    np.save(tmp_path / "digits.npy", digits)
    cli("push", path, "--name", "mnist", "--input-range", 0, 1, "--serve", "--json", *where).json()
    out = tmp_path / "logits.npy"
    answer = cli("query", "mnist", tmp_path / "digits.npy", "--out", out, "--json", *where).json()
    assert answer["samples"] == len(digits) >= 200
    assert np.array_equal(np.load(out), model.reference(digits))


def test_what_is_left_on_the_host(stack: Stack) -> None:
    folder = stack.compose.deployment.parent
    client = folder / "client"
    for place, others in ((folder, [client]), (client, [])):
        public, secret = place / "deployment.yaml", place / "credentials.yaml"
        assert sorted(place.iterdir()) == sorted([secret, public, *others])
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert {path.stat().st_uid for path in (place, public, secret)} == {os.geteuid()}
        assert "PRIVATE KEY" not in public.read_text()
    assert "owner_key" not in (client / "credentials.yaml").read_text()


def test_containers_are_closed(stack: Stack) -> None:
    for service in SERVICES:
        attributes = stack.container(service).attrs
        host = attributes["HostConfig"]
        assert attributes["Config"]["User"] == "10001:10001"
        assert attributes["State"]["Health"]["Status"] == "healthy"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not host["CapAdd"]
        assert not host["Privileged"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["Memory"] == host["MemorySwap"] > 0
        assert host["NanoCpus"] > 0
        assert host["PidsLimit"] == 256


def test_the_kernel_enforces_it(stack: Stack) -> None:
    code = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
def writable(path):
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False
print(json.dumps({
    "uid": os.getuid(), "capabilities": int(status["CapBnd"], 16) | int(status["CapEff"], 16),
    "privileges": int(status["NoNewPrivs"]),
    "writable": [p for p in ("/x", "/etc/x", "/opt/libmpc/x", "/etc/libmpc/x") if writable(p)],
}))"""
    for service in SERVICES:
        seen = json.loads(stack.python(service, code))
        assert seen == {"uid": 10001, "capabilities": 0, "privileges": 1, "writable": []}, service


def test_published_on_this_machine_only(stack: Stack) -> None:
    for service in SERVICES:
        ports = stack.container(service).attrs["NetworkSettings"]["Ports"]
        published = [binding for bindings in ports.values() if bindings for binding in bindings]
        if service != "gateway":
            assert not published
        else:
            port = str(stack.compose.port)
            assert published == [{"HostIp": "127.0.0.1", "HostPort": port}]


def test_networks_are_closed(stack: Stack) -> None:
    services = [f"{service}:8443" for service in SERVICES]
    probes = [f"{service}:8081" for service in SERVICES]
    host = [
        f"{gateway}:{port}" for gateway in _gateways(stack) for port in (22, stack.compose.port)
    ]
    for service in SERVICES:
        places = [*services, *probes, *OUTSIDE, *(host if service != "gateway" else [])]
        command = ["python", "-c", _REACH, *places]
        _, output = stack.container(service).exec_run(command)
        seen = dict(line.split() for line in output.decode().splitlines())
        assert seen.keys() == set(places)
        reached = {place for place, state in seen.items() if state == "open"}
        # Peers and parties on their one port; no probe, no host, nothing outside. (Whoever shares
        # a network with the gateway reaches its public port, as everybody does.)
        assert reached == set(services), service


def test_each_party_has_its_own_keys_only(stack: Stack) -> None:
    seen: dict[str, set[str]] = {}
    for service in SERVICES:
        mounts = stack.container(service).attrs["Mounts"]
        seen[service] = {mount["Name"] for mount in mounts}
        assert all(m["Type"] == "volume" for m in mounts)
        (keys,) = (m for m in mounts if m["Destination"] == "/etc/libmpc")
        assert not keys["RW"]
    assert all(seen.values())
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == 8


def test_no_log_and_no_environment_has_a_key(stack: Stack) -> None:
    secrets = list(_secrets(stack))
    assert len(secrets) > 12
    for service in SERVICES:
        container = stack.container(service)
        log = container.logs()
        shown = log + json.dumps(container.attrs).encode()
        assert b"listens on port" in log
        assert not any(secret in shown for secret in secrets), service


def test_no_party_has_another_ones_secret(stack: Stack) -> None:
    """In all that a party can read: its settings, keys and stored shares."""
    owned = {service: _private(stack, service) for service in SERVICES}
    for service in SERVICES:
        files = [*_files(stack, service, "/etc/libmpc"), *_files(stack, service, "/var/lib/libmpc")]
        assert files
        others = [secret for other in SERVICES if other != service for secret in owned[other]]
        assert not any(secret in content for _, content in files for secret in others), service


def test_metrics_and_health_answer_inside(stack: Stack) -> None:
    for service in SERVICES:
        assert stack.health(service) == {"ready": True}


def test_down_keeps_shares(stack: Stack, model: Model, digits: np.ndarray) -> None:
    compose = stack.compose
    before = compose.deployment.read_bytes()
    compose("down", "--timeout", "10")
    begin = time.monotonic()
    compose("up", "--wait", "--no-build")
    seconds = time.monotonic() - begin
    print(f"\nhealthy again after {seconds:.1f} s")
    assert seconds < 60
    assert compose.deployment.read_bytes() == before
    with libmpc.Client(compose.deployment) as client:
        assert np.array_equal(client.query("mnist", digits[:8]), model.reference(digits[:8]))


def test_a_party_is_ready_within_seconds(stack: Stack) -> None:
    """From its start to its health port's word that an epoch is in force, kernels included."""
    party = stack.container("party2")
    party.restart(timeout=10)
    begin = time.monotonic()
    until(lambda: stack.health("party2").get("ready"), 10, "party 2 is ready")
    print(f"\nparty 2 is ready {time.monotonic() - begin:.1f} s after its start")


def _gateways(stack: Stack) -> set[str]:
    """Where this machine would be reached from the containers' networks."""
    found = set()
    for service in SERVICES:
        for name in stack.container(service).attrs["NetworkSettings"]["Networks"]:
            for pool in stack.client.networks.get(name).attrs["IPAM"]["Config"]:
                found.add(pool["Gateway"].partition("/")[0])
    return found


def _files(stack: Stack, service: str, folder: str) -> Iterator[tuple[str, bytes]]:
    try:
        chunks, _ = stack.container(service).get_archive(folder)
    except stack.not_found:
        return
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        for member in archive:
            if member.isfile() and (file := archive.extractfile(member)) is not None:
                yield member.name, file.read()


def _private(stack: Stack, service: str) -> list[bytes]:
    """The body of each private key of a service."""
    files = dict(_files(stack, service, "/etc/libmpc"))
    keys = {name: content for name, content in files.items() if name.endswith(".key")}
    assert len(keys) == (5 if service != "gateway" else 3)
    return [_secret(name, content) for name, content in keys.items()]


def _secret(name: str, content: bytes) -> bytes:
    if name.endswith("storage.key"):  # below two lines of comment, with its id behind it
        return content.splitlines()[2].partition(b" ")[0]
    return b"".join(content.splitlines()[1:-1])  # PEM


def _secrets(stack: Stack) -> Iterator[bytes]:
    for service in SERVICES:
        for key in _private(stack, service):
            yield key
            yield key[-43:]
    text = (stack.compose.deployment.parent / "credentials.yaml").read_text()
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name in ("owner_key", "token"):
            yield value.strip("'\"").encode()
