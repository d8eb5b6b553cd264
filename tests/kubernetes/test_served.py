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
from libmpc.deployment_init import join, make_party
from libmpc.deployment_kubernetes import PORT, write_manifests
from tests.cluster.programs import until
from tests.kubernetes.overlays import rendered, workloads
from tests.kubernetes.pods import Pod


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


@pytest.mark.slow  # 'make k8s-validate' runs it
@pytest.mark.timeout(400)  # where no kernel is compiled yet
@pytest.mark.skipif(sys.platform != "linux", reason="gives every pod an address of its own: 127/8")
@pytest.mark.parametrize("triples", [1, 2])
def test_pods_from_the_manifests_answer(tmp_path: Path, triples: int) -> None:
    documents = workloads(rendered("overlays/trying-out"))
    # An address for each pod, as in a cluster, so that all can have the port that is written.
    net = f"127.{random.randrange(1, 250)}.{random.randrange(256)}"
    files = [
        make_party(
            party,
            f"https://{net}.{party + 1}{{triple}}:{PORT}",
            tmp_path / f"party{party}",
            triples=triples,
        )
        for party in range(3)
    ]
    deployment = join(files, f"https://{net}.1:{PORT}", tmp_path, "pods")
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
        place = workload["metadata"]["namespace"].removeprefix("libmpc-")
        gateway = place == "gateway"
        prefix = "LIBMPC_GATEWAY_" if gateway else "LIBMPC_PARTY_"
        for index in range(1 if gateway else triples):
            host = f"{net}.1" if gateway else f"{net}.{int(place[-1]) + 1}{index}"
            changes = {f"{prefix}HOST": host, f"{prefix}HEALTH_PORT": free_port()}
            name = f"{place}-{index}"
            pods[name] = Pod(tmp_path / "pods" / name, workload, objects, changes, index)
    assert len(pods) == 3 * triples + 1
    with contextlib.ExitStack() as stack:
        for name, pod in pods.items():
            stack.callback(pod.stop)
            pod.start(tmp_path / f"{name}.log")
        for pod in pods.values():
            until(lambda pod=pod: pod.probe("startup"), 60)  # type: ignore[misc]
            until(lambda pod=pod: pod.probe("readiness"), 240)  # type: ignore[misc]
        model = libmpc.load_model(data.model_path(data.MODELS[0]), input_range=(0, 1))
        images = data.digits()[0][:4]
        expected = model.reference(images)
        with libmpc.Cluster.from_file(path) as cluster:
            cluster.share(model, "digits", serve=True)
        with libmpc.Client(tmp_path / "client") as client:
            assert np.array_equal(client.query("digits", images), expected)
            if triples > 1:
                for party in range(3):
                    pods[f"party{party}-0"].stop()
                assert np.array_equal(client.query("digits", images), expected)
    # What is stored is in the volume, and nobody else's.
    for name in pods:
        stored = tmp_path / "pods" / name / "var/lib/libmpc/data"
        assert stat.S_IMODE(stored.stat().st_mode) == 0o700
        file = "tokens.sqlite" if name.startswith("gateway") else "party.sqlite"
        assert (stored / file).exists()
