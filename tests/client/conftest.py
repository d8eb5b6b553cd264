from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libmpc.client import Client
from libmpc.graph.model import Model
from tests.client.fake import FakeDeployment, tiny_model


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and files of a deployment, to be copied: making them takes a while."""
    return FakeDeployment(tmp_path_factory.mktemp("made") / "run").directory


@pytest.fixture
def model() -> Model:
    return tiny_model()


@pytest.fixture
def fake(made: Path, tmp_path: Path, model: Model) -> FakeDeployment:
    """A deployment that serves ``model`` as "tiny"."""
    deployment = FakeDeployment(shutil.copytree(made, tmp_path / "run"))
    deployment.publish(model)
    return deployment


@pytest.fixture
def connect(fake: FakeDeployment) -> Iterator[Callable[..., Client]]:
    clients = []

    def make(**settings: Any) -> Client:
        given = {"transport": fake.transport(), "clock": fake.clock, **settings}
        clients.append(Client(fake.path, **given))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Callable[..., Client]) -> Client:
    return connect()
