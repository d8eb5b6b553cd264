"""What all schedules share, since making it takes long: keys, networks, the gateway's routes."""

from __future__ import annotations

import functools
import gc
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from libmpc.client.connection import Connection
from libmpc.deployment import Deployment, GatewayEntry
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.graph.builder import GraphBuilder
from libmpc.graph.model import Model, build_model
from libmpc.identity.keys import GatewayIdentity, PartyIdentity
from libmpc.identity.storage_keys import STORAGE_KEY, StorageKeys
from libmpc.identity.token import token_sha256
from libmpc.link import LocalIdentity
from libmpc.link.hello import GATEWAY
from libmpc.party.vault import Vault
from services.gateway.app import make_app
from services.gateway.settings import GatewaySettings
from tests.simulation.loop import current_process

GATEWAYS = ("g0", "g1")
TOKEN = "a token for simulations"
VARIANTS = 5


@dataclass(frozen=True)
class Materials:
    """A deployment with two gateways, its keys, and networks to push."""

    connection: Connection
    parties: list[PartyIdentity]
    vaults: list[Vault]
    gateway: LocalIdentity
    models: list[Model]
    app: Any

    @property
    def deployment(self) -> Deployment:
        return self.connection.deployment


@functools.cache
def materials() -> Materials:
    with tempfile.TemporaryDirectory() as made:
        home = Path(made) / "run"
        make_all(home, LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7))
        connection = Connection.open(home)
        parties = [PartyIdentity.load(home / f"party{i}" / "keys") for i in range(3)]
        stored = [home / f"party{i}" / "keys" / STORAGE_KEY for i in range(3)]
        vaults = [Vault(i, StorageKeys.from_file(path)) for i, path in enumerate(stored)]
        identity = GatewayIdentity.load(home / "gateway" / "keys")
    deployment = connection.deployment
    second = GatewayIdentity.generate()
    keys = [deployment.gateways[0].static_key, second.static_public]
    entries = tuple(
        GatewayEntry(url=f"https://{name}", static_key=key)
        for name, key in zip(GATEWAYS, keys, strict=True)
    )
    deployment = deployment.model_copy(update={"gateways": entries})
    gc.freeze()  # what stays need not be looked at again after every schedule
    return Materials(
        connection=Connection(deployment, None, connection.owner, TOKEN),
        parties=parties,
        vaults=vaults,
        gateway=LocalIdentity(GATEWAY, identity.static, deployment.id),
        models=[tiny(variant) for variant in range(VARIANTS)],
        app=make_app(_CurrentGateway()),  # type: ignore[arg-type]
    )


def tiny(variant: int) -> Model:
    """A small network; every variant answers something else."""
    rng = np.random.default_rng(variant)
    b = GraphBuilder((3,))
    hidden = b.relu("relu", b.dense("first", b.input, rng.normal(size=(3, 4)), rng.normal(size=4)))
    y = b.dense("second", hidden, rng.normal(size=(4, 2)), rng.normal(size=2))
    return build_model(b.graph(y), (-1, 1), name="tiny")


def inputs(rng: Any, rows: int) -> NDArray[np.float64]:
    return np.array([[rng.uniform(-1, 1) for _ in range(3)] for _ in range(rows)])


@functools.lru_cache(maxsize=8)
def gateway_settings(data: Path = Path("data")) -> GatewaySettings:
    return GatewaySettings(
        deployment=Path("deployment.yaml"),
        keys=Path("keys"),
        data=data,
        token_sha256=SecretStr(token_sha256(TOKEN)),
        link_timeout=3.0,
        call_timeout=3.0,
        query_timeout=10.0,
        push_timeout=8.0,
        commit_timeout=5.0,
    )


class _CurrentGateway:
    """The gateway of the process that a request is handled in: routes take long to make."""

    settings = gateway_settings()

    def __init__(self, *path: str) -> None:
        self._path = path

    @property
    def access(self) -> Any:
        """Of the same gateway; routes have this one from the start."""
        return _CurrentGateway("access")

    def __getattr__(self, name: str) -> Any:
        found: Any = current_process().gateway  # type: ignore[union-attr]
        for part in (*self._path, name):
            found = getattr(found, part)
        return found
