"""What 'libmpc init --kubernetes' writes and what the overlay says, run: an exact answer comes."""

from __future__ import annotations

import contextlib
import random
import socket
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import libmpc
from libmpc import data
from libmpc.deployment import Deployment
from libmpc.deployment_init import join, make_party
from libmpc.deployment_kubernetes import PORT, write_manifests
from tests.cluster.programs import until
from tests.kubernetes.overlays import rendered, workloads
from tests.kubernetes.pods import Pod


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.timeout(300)  # where no kernel is compiled yet
@pytest.mark.skipif(sys.platform != "linux", reason="gives every pod an address of its own: 127/8")
def test_three_parties_and_a_gateway_from_the_manifests(tmp_path: Path) -> None:
    documents = workloads(rendered("overlays/trying-out"))
    # An address for each pod, as in a cluster, so that all can have the port that is written.
    first = random.randrange(1, 250)
    hosts = [f"127.{first}.{random.randrange(256)}.{i + 1}" for i in range(4)]
    files = [make_party(i, f"https://{hosts[i]}:{PORT}", tmp_path / f"party{i}") for i in range(3)]
    deployment = join(files, f"https://{hosts[3]}:{PORT}", tmp_path, "pods")
    path = tmp_path / "deployment.yaml"
    for index in range(3):
        deployment.write(tmp_path / f"party{index}" / "deployment.yaml")
    objects = {}
    for manifest in write_manifests(tmp_path):
        private = ".secret." in manifest.name
        assert stat.S_IMODE(manifest.stat().st_mode) == (0o600 if private else 0o644)
        for one in yaml.safe_load_all(manifest.read_text()):
            assert (one["kind"] == "Secret") == private
            meta = one["metadata"]
            objects[meta["namespace"], one["kind"], meta["name"]] = one

    pods = {}
    for workload in documents:
        place = workload["metadata"]["namespace"]
        number = 3 if place == "libmpc-gateway" else int(place[-1])
        prefix = "LIBMPC_GATEWAY_" if number == 3 else "LIBMPC_PARTY_"
        changes = {f"{prefix}HOST": hosts[number], f"{prefix}HEALTH_PORT": free_port()}
        pods[number] = Pod(tmp_path / f"pod{number}", workload, objects, changes)
    assert sorted(pods) == [0, 1, 2, 3]
    with contextlib.ExitStack() as stack:
        for number, pod in pods.items():
            stack.callback(pod.stop)
            pod.start(tmp_path / f"pod{number}.log")
        for pod in pods.values():
            until(lambda pod=pod: pod.probe("startup"), 120)  # type: ignore[misc]
            until(lambda pod=pod: pod.probe("readiness"), 120)  # type: ignore[misc]
        model = libmpc.load_model(data.model_path(data.MODELS[0]), input_range=(0, 1))
        images = data.digits()[0][:4]
        with libmpc.Cluster.from_file(path) as cluster:
            cluster.share(model, "digits", serve=True)
        with libmpc.Client(tmp_path / "client") as client:
            assert np.array_equal(client.query("digits", images), model.reference(images))
    assert Deployment.from_file(path).id == deployment.id
    # What is stored is in the volume, and nobody else's.
    for number in range(3):
        stored = tmp_path / f"pod{number}" / "var/lib/libmpc/data"
        assert stat.S_IMODE(stored.stat().st_mode) == 0o700
        assert (stored / "party.sqlite").exists()
