"""The guide for three organisations, with a compose project for each of them and the gateway."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import libmpc
from libmpc.cluster.ports import choose_ports
from libmpc.cluster.services import is_ready
from libmpc.deployment import Deployment
from libmpc.graph.model import Model
from tests.containers.engine import IMAGES, ROOT, compose_command
from tests.containers.stack import until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

TEMPLATES = ROOT / "deploy" / "organisation"


class Organisation:
    """A folder with a compose file, as on a host of its own."""

    def __init__(self, folder: Path, template: str, **settings: object) -> None:
        folder.mkdir()
        self.folder = folder
        shutil.copy(TEMPLATES / template, folder / "compose.yaml")
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (folder / ".env").write_text("".join(lines))
        self.project = f"libmpc-test-{os.getpid()}-{folder.name}"

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*compose_command(), "--project-name", self.project, *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="gives files away: needs root")
def test_three_hosts(
    docker_client: Any, images: dict[str, Any], model: Model, digits: np.ndarray, tmp_path: Path
) -> None:
    # The engine's own bridge stands for the Internet: every project reaches the others through it.
    pool = docker_client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    address = pool.get("Gateway") or pool["Subnet"].replace(".0/16", ".1")
    ports = choose_ports(address, None)
    urls = [f"https://{address}:{port}" for port in (*ports.parties, ports.gateway)]
    with contextlib.ExitStack() as stack:
        parties = []
        for index, port in enumerate(ports.parties):
            party = Organisation(
                tmp_path / f"host{index}",
                "party.compose.yaml",
                LIBMPC_INDEX=index,
                LIBMPC_PUBLISH=f"{address}:{port}",
            )
            stack.callback(party, "--profile", "setup", "down", "--volumes", "--timeout", "5")
            parties.append(party)

        # 1. Each makes its keys, and hands out the public file.
        desk = tmp_path / "desk"
        desk.mkdir()
        for index, party in enumerate(parties):
            where = ("--url", urls[index], "--dir", "/etc/libmpc")
            party("run", "--rm", "keys", "init", "--index", str(index), *where)
            name = f"party{index}.public.yaml"
            public = party(
                "run", "--rm", "-T", "--entrypoint", "cat", "keys", f"/etc/libmpc/{name}"
            )
            assert "PRIVATE" not in public
            (desk / name).write_text(public)

        # 2. Somebody joins the three.
        names = [f"/work/party{index}.public.yaml" for index in range(3)]
        docker_client.containers.run(
            IMAGES["party"],
            ["init", "--join", *names, "--gateway-url", urls[3], "--dir", "/work/deployment"],
            volumes={str(desk): {"bind": "/work", "mode": "rw"}},
            user=f"{os.getuid()}:{os.getgid()}",
            network_mode="none",
            remove=True,
        )
        deployment = desk / "deployment" / "deployment.yaml"
        expected = Deployment.from_file(deployment).fingerprint

        # 3. Each gets the file, compares its fingerprint, and starts.
        for party in parties:
            shutil.copy(deployment, party.folder)
            mount = f"{party.folder}/deployment.yaml:/deployment.yaml:ro"
            command = ("init", "--fingerprint", "/deployment.yaml")
            assert party("run", "--rm", "-T", "-v", mount, "keys", *command).strip() == expected
            party("up", "--detach")
        gateway = Organisation(
            tmp_path / "host3",
            "gateway.compose.yaml",
            LIBMPC_PUBLISH=f"{address}:{ports.gateway}",
        )
        stack.callback(gateway, "down", "--volumes", "--timeout", "5")
        shutil.move(desk / "deployment" / "gateway", gateway.folder)
        for path in (gateway.folder / "gateway", *(gateway.folder / "gateway").rglob("*")):
            os.chown(path, 10001, 10001)
        gateway("up", "--detach")

        # 4. The owner shares a model; a client asks.
        until(lambda: _ready(deployment), 60, "all parties are connected")
        with libmpc.Cluster.from_file(deployment) as cluster:
            cluster.share(model, "score", serve=True)
        with libmpc.Client(deployment) as client:
            assert np.array_equal(client.query("score", digits), model.reference(digits))


def _ready(deployment: Path) -> bool:
    return is_ready(Deployment.from_file(deployment))
