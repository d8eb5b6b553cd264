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
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Path:
    """A deployment's files with ``model`` stored, to be copied: making them takes a while."""
    fake = FakeDeployment(tmp_path_factory.mktemp("made") / "run")
    fake.publish(model)
    fake.close()
    return fake.directory


@pytest.fixture
def fake(made: Path, tmp_path: Path, model: Model) -> Iterator[FakeDeployment]:
    """A deployment that serves ``model`` as "tiny"."""
    fake = FakeDeployment(shutil.copytree(made, tmp_path / "run"))
    fake.models[fake.stored("tiny")] = model
    yield fake
    fake.close()


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
