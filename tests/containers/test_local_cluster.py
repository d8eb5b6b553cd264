"""``LocalCluster(backend="docker")``: the three steps over containers, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import libmpc
from libmpc.cluster.docker_engine import LABEL
from libmpc.cluster.docker_local import PROJECT_FILE
from libmpc.graph.model import Model
from tests.containers.engine import ROOT
from tests.containers.stack import KILL_SERVICE, until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

_RUN = """
import pathlib, sys, time, libmpc
with libmpc.LocalCluster(sys.argv[1], backend="docker"):
    print("ready", flush=True)
    time.sleep(600)
"""


def test_three_steps_and_a_kill(
    docker_client: Any, images: dict[str, Any], model: Model, digits: np.ndarray, tmp_path: Path
) -> None:
    expected = model.reference(digits)
    with libmpc.LocalCluster(tmp_path, backend="docker") as cluster:
        project = (tmp_path / PROJECT_FILE).read_text().strip()
        assert list(cluster.processes) == ["party 0", "party 1", "party 2", "gateway"]
        assert len({pid for pid in cluster.processes.values() if pid}) == 4
        _assert_closed(docker_client, project)
        served = cluster.share(model, "mnist", serve=True)
        with libmpc.Client(cluster.deployment, timeout=60) as client:
            assert np.array_equal(client.query("mnist", digits), expected)
            before = cluster.processes["party 1"]
            party = docker_client.containers.get(f"{project}-party1")
            party.exec_run(["python", "-c", KILL_SERVICE])
            until(lambda: cluster.processes["party 1"] not in (None, before), 30, "it is back")
            until(lambda: _answers(client, digits), 30, "answers again")
            assert np.array_equal(client.query("mnist", digits), expected)
        served.stop()
        begin = time.monotonic()
    assert time.monotonic() - begin < 15
    assert not _containers(docker_client, project)
    assert not (tmp_path / "deployment.yaml").exists()

    # The directory was given, so its shares are still there.
    with libmpc.LocalCluster(tmp_path, backend="docker") as cluster:
        cluster.model("mnist").serve()
        with libmpc.Client(cluster.deployment) as client:
            assert np.array_equal(client.query("mnist", digits[:8]), expected[:8])
    _remove_volumes(docker_client, project)


def test_containers_end_with_their_parent(
    docker_client: Any, images: dict[str, Any], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", _RUN, str(tmp_path)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        project = (tmp_path / PROJECT_FILE).read_text().strip()
        assert len(_containers(docker_client, project)) == 4
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        parent.stdout.close()
    until(
        lambda: all(c.status == "exited" for c in _containers(docker_client, project)),
        15,
        "all containers have ended",
    )
    for container in _containers(docker_client, project):
        container.remove(force=True)
    for network in docker_client.networks.list(filters={"label": f"{LABEL}={project}"}):
        network.remove()
    _remove_volumes(docker_client, project)


def test_a_backend_that_does_not_exist() -> None:
    with pytest.raises(libmpc.ConfigError, match="backend"):
        libmpc.LocalCluster(backend="podman")  # type: ignore[arg-type]


def _answers(client: libmpc.Client, x: np.ndarray) -> bool:
    try:
        client.query("mnist", x[:1])
    except libmpc.UnavailableError:
        return False
    return True


def _assert_closed(client: Any, project: str) -> None:
    containers = _containers(client, project)
    assert len(containers) == 4
    for container in containers:
        host = container.attrs["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["Memory"] == host["MemorySwap"] > 0
        assert host["Dns"] == ["127.0.0.1"]
        assert container.attrs["Config"]["User"] == "10001:10001"


def _containers(client: Any, project: str) -> list[Any]:
    found: list[Any] = client.containers.list(all=True, filters={"label": f"{LABEL}={project}"})
    return found


def _remove_volumes(client: Any, project: str) -> None:
    volumes = client.volumes.list(filters={"label": f"{LABEL}={project}"})
    assert len(volumes) == 10
    for volume in volumes:
        volume.remove()
