"""Files: deployments, credentials, settings and models."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.errors import ConfigError, ModelError
from libmpc.graph.loading import read_file
from libmpc.graph.nodes import Graph
from services.gateway.settings import GatewaySettings
from services.party.settings import PartySettings
from tests.fuzz.harness import MIB, Target, WrongError

TESTS = Path(__file__).parent.parent
YAML = [
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!python/object:os.system ",
    b"!!binary ",
    b"? ",
    b"---\n",
    b"- ",
    b"  ",
    b"\t",
    b"|\n",
    b">-\n",
    b"{",
    b"}",
    b"[",
    b"[[[[[[[[",
    b"\xef\xbb\xbf",
    b".inf",
    b"0o17",
    b"1e999",
    b"9" * 5000,
    b"2020-99-99",
    b"%YAML 9.9\n",
    b"\xc2\x85",
    b"''",
    b"&a [*a, *a]\n",
    b"x: &x {y: *x}\n",
]


@cache
def home() -> Path:
    """A deployment of its own, for as long as this process runs."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz")
    _kept.append(folder)
    path = Path(folder.name)
    make_all(path, LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7))
    return path


_kept: list[tempfile.TemporaryDirectory[str]] = []


def _file(name: str, data: bytes) -> Path:
    path = home() / name
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def _deployment(data: bytes) -> object:
    found = Deployment.from_file(_file("mutant.yaml", data))
    if Deployment.from_file(_file("again.yaml", found.to_yaml())) != found:
        raise WrongError("its own encoding says something else")
    return found


def _credentials(data: bytes) -> object:
    deployment = Deployment.from_file(home() / "deployment.yaml")
    return Credential.from_file(_file("mutant-credentials.yaml", data), deployment)


def _gateway(data: bytes) -> object:
    return GatewaySettings.from_file(_file("mutant-gateway.yaml", data))


def _party(data: bytes) -> object:
    return PartySettings.from_file(_file("mutant-party.yaml", data))


def _model(data: bytes, ending: str) -> Graph:
    return read_file(_file(f"mutant{ending}", data))


def _yaml() -> list[Target]:
    path = home()
    files = {
        "deployment.yaml": (path / "deployment.yaml", _deployment),
        "credentials.yaml": (path / "credentials.yaml", _credentials),
        "gateway.yaml": (path / "gateway" / "gateway.yaml", _gateway),
        "party.yaml": (path / "party0" / "party.yaml", _party),
    }
    return [
        # PyYAML takes a microsecond a byte; these files are an operator's own.
        Target(name, [[file.read_bytes()]], parse, (ConfigError,), tokens=YAML, longest=1 << 15)
        for name, (file, parse) in files.items()
    ]


def targets() -> list[Target]:
    data = TESTS / "graph" / "data"
    keras = [(data / name).read_bytes() for name in ("sequential.keras", "functional.keras")]
    h5 = [(data / name).read_bytes() for name in ("sequential.h5", "functional.h5", "keras_2.h5")]
    folder = TESTS / "onnx" / "data"
    onnx = [
        (folder / name).read_bytes()
        for name in ("torch_script_line.onnx", "torch_dynamo_line.onnx")
    ]
    return [
        *_yaml(),
        Target(
            "model .keras",
            [[d] for d in keras],
            lambda d: _model(d, ".keras"),
            (ModelError,),
            memory=64 * MIB,
            seconds=3,
        ),
        Target(
            "model .h5",
            [[d] for d in h5],
            lambda d: _model(d, ".h5"),
            (ModelError,),
            memory=64 * MIB,
            seconds=3,
        ),
        Target(
            "model .onnx",
            [[d] for d in onnx],
            lambda d: _model(d, ".onnx"),
            (ModelError,),
            memory=64 * MIB,
            seconds=3,
        ),
    ]
