"""Private neural-network inference: three parties compute on shares, and nobody sees the input.

    with libmpc.LocalCluster() as cluster:          # or Cluster.from_file("deployment.yaml")
        model = libmpc.load_model("short-conv-mnist.h5", input_range=(0, 1))
        served = cluster.share(model, name="mnist")
        served.serve(num_requests=3)
        with libmpc.Client(cluster.deployment) as client:
            logits = client.query("mnist", images)

Names are imported when they are first used, so ``import libmpc`` is quick, and a client never
loads what only parties or owners need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from libmpc._version import __version__

if TYPE_CHECKING:
    from libmpc.client.aio import AsyncClient
    from libmpc.client.card import ModelSummary
    from libmpc.client.evaluating import Score
    from libmpc.client.measuring import Measurement, measure
    from libmpc.client.retry import RetryPolicy
    from libmpc.client.sync import Client
    from libmpc.cluster.local import LocalCluster
    from libmpc.cluster.remote import Cluster
    from libmpc.cluster.served import ServedModel
    from libmpc.deployment import Deployment
    from libmpc.errors import (
        AuthenticationError,
        ConfigError,
        ConflictError,
        InputError,
        IntegrityError,
        LibmpcError,
        LimitError,
        ModelError,
        ModelNotFoundError,
        RangeError,
        ServiceError,
        UnavailableError,
    )
    from libmpc.fixedpoint import decode, encode
    from libmpc.graph.model import Model, load_model
    from libmpc.graph.ranges.analysis import RangeWarning
    from libmpc.shares import AdditiveShare, reconstruct, split
    from libmpc.simulation import Simulation
    from libmpc.wire.descriptor import Descriptor

__all__ = [
    "AdditiveShare",
    "AsyncClient",
    "AuthenticationError",
    "Client",
    "Cluster",
    "ConfigError",
    "ConflictError",
    "Deployment",
    "Descriptor",
    "InputError",
    "IntegrityError",
    "LibmpcError",
    "LimitError",
    "LocalCluster",
    "Measurement",
    "Model",
    "ModelError",
    "ModelNotFoundError",
    "ModelSummary",
    "RangeError",
    "RangeWarning",
    "RetryPolicy",
    "Score",
    "ServedModel",
    "ServiceError",
    "Simulation",
    "UnavailableError",
    "__version__",
    "decode",
    "encode",
    "load_model",
    "measure",
    "reconstruct",
    "split",
]

_HOMES = {
    "client.aio": "AsyncClient",
    "client.card": "ModelSummary",
    "client.evaluating": "Score",
    "client.measuring": "Measurement measure",
    "client.retry": "RetryPolicy",
    "client.sync": "Client",
    "cluster.local": "LocalCluster",
    "cluster.remote": "Cluster",
    "cluster.served": "ServedModel",
    "deployment": "Deployment",
    "errors": "AuthenticationError ConfigError ConflictError InputError IntegrityError LibmpcError "
    "LimitError ModelError ModelNotFoundError RangeError ServiceError UnavailableError",
    "fixedpoint": "decode encode",
    "graph.model": "Model load_model",
    "graph.ranges.analysis": "RangeWarning",
    "shares": "AdditiveShare reconstruct split",
    "simulation": "Simulation",
    "wire.descriptor": "Descriptor",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'libmpc' has no attribute {name!r}")
    found = getattr(import_module(f"libmpc.{_HOME[name]}"), name)
    globals()[name] = found  # the next use finds it at once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
