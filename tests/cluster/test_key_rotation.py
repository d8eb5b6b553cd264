"""A party's keys and certificate replaced under load, with real processes: no query is lost."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import data
from libmpc.audit import Follow
from libmpc.cluster.remote import Cluster
from libmpc.deployment import Deployment
from libmpc.deployment_keys import add_keys, drop_keys, new_certificate, new_keys, use_keys
from libmpc.identity.keys import PartyIdentity
from tests.cluster.programs import until

PARTY = 1


class Load(threading.Thread):
    """Asks without pause, with the default retries; keeps what came of it."""

    def __init__(self, deployment: Path, images: np.ndarray, expected: np.ndarray) -> None:
        super().__init__(daemon=True)
        self._deployment = deployment
        self._images = images
        self._expected = expected
        self.stopping = threading.Event()
        self.right = 0
        self.failed: list[BaseException] = []

    def run(self) -> None:
        try:
            with libmpc.Client(self._deployment) as client:
                while not self.stopping.is_set():
                    logits = client.query("digits", self._images)
                    assert np.array_equal(logits, self._expected)
                    self.right += 1
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.failed.append(error)


class Services:
    """The cluster's directories, and what its services have said."""

    def __init__(self, cluster: libmpc.LocalCluster) -> None:
        self._cluster = cluster
        self.directory = cluster.directory

    def _log(self, name: str) -> str:
        return (self.directory / "logs" / f"{name.replace(' ', '')}.log").read_text()

    def hang_up(self, *names: str) -> None:
        """SIGHUP, until the services have read their files anew."""
        before = {name: self._log(name).count("were read anew") for name in names}
        for name in names:
            pid = self._cluster.processes[name]
            assert pid is not None
            os.kill(pid, signal.SIGHUP)
        for name in names:
            until(lambda n=name: self._log(n).count("were read anew") > before[n])  # type: ignore[misc]

    def hand_out(self, change: Callable[[Path], Deployment]) -> Path:
        """Change the deployment file and give it to all services; returns the clients' copy."""
        master = self.directory / "deployment.yaml"
        change(master)
        for name in ("party0", "party1", "party2", "gateway"):
            shutil.copy(master, self.directory / name / "deployment.yaml")
        self.hang_up("party 0", "party 1", "party 2", "gateway")
        return master

    def events(self, index: int) -> list[str]:
        return [r.event for r in Follow(self.directory / f"party{index}" / "data" / "audit")]

    def certificate(self) -> bytes:
        """What party 1 shows to whoever connects."""
        url = Deployment.from_file(self.directory / "deployment.yaml").parties[PARTY].url
        host, _, port = url.removeprefix("https://").rpartition(":")
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((host, int(port))))


@pytest.mark.timeout(300)
def test_keys_are_replaced_under_load(tmp_path: Path) -> None:
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    images = data.digits()[0][:4]
    expected = model.reference(images)
    with libmpc.LocalCluster(tmp_path / "run") as cluster:
        cluster.share(model, "digits", serve=True)
        services = Services(cluster)
        home = services.directory / f"party{PARTY}"
        pids = cluster.processes
        old = PartyIdentity.load(home / "keys")
        before = Deployment.from_file(services.directory / "deployment.yaml")

        public = new_keys(home)
        both = services.hand_out(lambda path: add_keys(path, public))
        clients = tmp_path / "clients"
        clients.mkdir()
        for name in (both.name, "credentials.yaml"):
            shutil.copy(both.with_name(name), clients / name)
        load = [Load(clients, images, expected) for _ in range(3)]
        for one in load:
            one.start()

        def go_on() -> None:
            """Until each client has had five more answers."""
            wanted = [one.right + 5 for one in load]
            until(
                lambda: all(
                    one.failed or one.right >= least
                    for one, least in zip(load, wanted, strict=True)
                ),
                timeout=60,
            )
            assert not any(one.failed for one in load), [one.failed for one in load]

        go_on()
        new = use_keys(home)
        services.hang_up(f"party {PARTY}")
        go_on()
        shown = services.certificate()
        new_certificate(home)
        services.hang_up(f"party {PARTY}")
        go_on()
        assert services.certificate() != shown
        services.hand_out(lambda path: drop_keys(path, PARTY))
        go_on()
        for one in load:
            one.stopping.set()
            one.join(30)
            assert not one.failed, one.failed

        assert cluster.processes == pids  # nobody was restarted
        after = Deployment.from_file(services.directory / "deployment.yaml")
        assert after.id == before.id
        assert after.parties[PARTY].static_keys == (new.static_public,) != (old.static_public,)
        # Clients with the newest file, and owners' commands, go on as ever.
        with libmpc.Client(services.directory) as client:
            assert np.array_equal(client.query("digits", images), expected)
        with Cluster.from_file(services.directory) as owner:
            owner.model("digits").stop()
        # A program that has the oldest file still is told so, and believes nothing.
        with pytest.raises(libmpc.IntegrityError, match="signature of a descriptor"):
            cluster.model("digits")
        assert services.events(PARTY).count("settings") == 4
        assert "stop" in services.events(PARTY)
