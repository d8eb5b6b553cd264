"""Two gateway processes over one PostgreSQL, in front of the same three parties."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

import libmpc
from libmpc import data
from libmpc.access import make_grant
from libmpc.access.opening import Where
from libmpc.cluster.ports import choose_ports
from libmpc.cluster.services import is_ready
from libmpc.deployment import Deployment
from libmpc.deployment_init import write_client
from tests.postgres import Server


class Replica:
    """A gateway process with nothing but files to read and a directory that may be lost."""

    def __init__(self, run: Path, scratch: Path, environment: dict[str, str]) -> None:
        ports = choose_ports("127.0.0.1", None)
        shared = Deployment.from_file(run / "deployment.yaml")
        (gateway,) = shared.gateways
        entry = gateway.model_copy(update={"url": f"https://127.0.0.1:{ports.gateway}"})
        self.deployment = shared.model_copy(update={"gateways": (entry,)})
        self.scratch = scratch
        own = {
            "LIBMPC_GATEWAY_PORT": f"{ports.gateway}",
            "LIBMPC_GATEWAY_HEALTH_PORT": f"{ports.gateway_health}",
            "LIBMPC_GATEWAY_DATA": str(scratch),
        }
        self.log = scratch.with_suffix(".log").open("w+b")
        config = str(run / "gateway" / "gateway.yaml")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "libmpc", "gateway", "--config", config],
            env={**os.environ, **environment, **own},
            stderr=self.log,
        )

    def wait_ready(self) -> None:
        while not is_ready(self.deployment):
            assert self.process.poll() is None, self.text()
            time.sleep(0.05)

    def text(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()

    def client(self, folder: Path, token: SecretStr) -> libmpc.Client:
        write_client(folder, self.deployment, token)
        return libmpc.Client(folder / "deployment.yaml", retries=0, timeout=60)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[libmpc.LocalCluster]:
    with libmpc.LocalCluster(tmp_path / "run") as running:
        model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
        running.share(model, "digits", serve=True)
        yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_gateways_share_tokens_and_quotas(
    cluster: libmpc.LocalCluster, shared_where: Where, postgres: Server, tmp_path: Path
) -> None:
    assert shared_where.database is not None
    database = shared_where.database.get_secret_value().rsplit("/", 1)[1]
    environment = {
        "LIBMPC_GATEWAY_DATABASE": f"postgresql://postgres@127.0.0.1:{postgres.port}/{database}",
        "LIBMPC_GATEWAY_DATABASE_PASSWORD": postgres.password,
        "LIBMPC_GATEWAY_DATABASE_TIMEOUT": "10",
    }
    replicas = [Replica(cluster.directory, tmp_path / f"{i}", environment) for i in range(2)]
    images, _ = data.digits()
    model = libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))
    expected = model.reference(images[:1])
    store = shared_where.open()
    try:
        for replica in replicas:
            replica.wait_ready()

        def spend(limit: int, kill_at: int = 0) -> tuple[str, int, list[libmpc.LibmpcError]]:
            """Ask both until both refuse; how many images were answered."""
            token, grant = make_grant("somebody", "client", 1, images=limit)
            store.add(grant)
            answered, lock = 0, threading.Lock()

            def ask(replica: Replica) -> libmpc.LibmpcError:
                nonlocal answered
                folder = tmp_path / f"{grant.id}-{replica.scratch.name}"
                with replica.client(folder, token) as client:
                    while True:
                        try:
                            logits = client.query("digits", images[:1])
                        except libmpc.errors.AuthenticationError:
                            continue  # not known here yet
                        except libmpc.LibmpcError as error:
                            return error
                        assert np.array_equal(logits, expected)
                        with lock:
                            answered += 1
                            if kill_at and answered == kill_at:
                                replicas[1].process.kill()

            with ThreadPoolExecutor(2) as threads:
                errors = list(threads.map(ask, replicas))
            return grant.id, answered, errors

        token, answered, errors = spend(120)
        assert answered == 120
        assert all(isinstance(error, libmpc.errors.LimitError) for error in errors)
        assert store.usage(token) == {"digits": 120}

        token, answered, errors = spend(200, kill_at=40)
        assert isinstance(errors[0], libmpc.errors.LimitError)
        assert not isinstance(errors[1], libmpc.errors.LimitError)
        # Not one more; and none gone but what the killed one had set aside, and its last query.
        assert 200 - 200 // 8 - 2 <= answered <= 200
        assert store.usage(token) == {"digits": 200}

        replicas[0].process.send_signal(signal.SIGTERM)
        assert replicas[0].process.wait(30) == 0
        # Whatever it wrote, it can do without: nothing of it needs to be kept.
        assert [path.name for path in replicas[0].scratch.iterdir()] == ["authorities.pem"]
        assert postgres.password not in replicas[0].text() + replicas[1].text()
    finally:
        store.close()
        for replica in replicas:
            replica.process.kill()
            replica.process.wait()
            replica.log.close()
