"""The images themselves: what they say, what they run as, and what is not in them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from typing import Any

import pytest

from libmpc._version import __version__
from tests.containers.engine import IMAGES

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]

ROLES = tuple(IMAGES)
# Private keys as PEM has them, and owners' files; not the word in a library's source.
_PEM_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")
_COMPILERS = ("gcc", "cc", "g++", "clang", "ld", "as", "make", "cargo", "rustc")


def run(client: Any, role: str, *arguments: str, **options: Any) -> str:
    """Run a command in a new container, closed as in compose.yaml, and return what it printed."""
    output: bytes = client.containers.run(
        IMAGES[role],
        list(arguments),
        remove=True,
        stderr=True,
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
        **options,
    )
    return output.decode()


@pytest.mark.parametrize("role", ROLES)
def test_help_teaches(role: str, docker_client: Any, images: dict[str, Any]) -> None:
    for arguments in ((), ("--help",)):
        text = run(docker_client, role, *arguments)
        for word in (f"libmpc {role}", "/etc/libmpc", "--read-only", "--cap-drop ALL", "8443"):
            assert word in text


@pytest.mark.parametrize("role", ROLES)
def test_user_labels_and_entrypoint(role: str, images: dict[str, Any]) -> None:
    config = images[role].attrs["Config"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", config["User"])
    labels = {key.rpartition(".")[2]: value for key, value in config["Labels"].items()}
    assert labels["version"] == __version__
    assert labels["licenses"] == "Apache-2.0"
    assert role in labels["title"]
    assert config["Healthcheck"]["Test"] == ["CMD", "libmpc-health", "live"]


@pytest.mark.parametrize("role", ROLES)
def test_no_compiler(role: str, docker_client: Any, images: dict[str, Any]) -> None:
    code = f"import shutil; print([c for c in {_COMPILERS} if shutil.which(c)])"
    assert run(docker_client, role, "-c", code, entrypoint="python").strip() == "[]"


def test_kernels_come_from_the_image(docker_client: Any, images: dict[str, Any]) -> None:
    """On a read-only root: all are loaded, none is compiled, for either processor."""
    code = "from libmpc.runtime import warm_up; warm_up()"
    for processor in ("generic", "x86-64-v3"):
        if processor != "generic" and images["party"].attrs["Architecture"] != "amd64":
            continue
        options = {"NUMBA_DEBUG_CACHE": "1", "NUMBA_CPU_NAME": processor}
        lines = run(
            docker_client, "party", "-c", code, entrypoint="python", environment=options
        ).splitlines()
        assert sum("data loaded" in line for line in lines) >= 15
        assert not any("saved" in line for line in lines)


def test_the_gateway_has_no_code_that_could_read(
    docker_client: Any, images: dict[str, Any]
) -> None:
    code = """
import importlib.util as u
def there(name):
    try:
        return u.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
names = ["libmpc." + n for n in ("shares", "ring", "prg", "protocol", "runtime", "sealing.open",
    "sealing.hpke_keys", "client", "graph", "party.node")] + ["services.party", "numpy", "numba"]
print([n for n in names if there(n)], there("services.gateway.main"))"""
    assert run(docker_client, "gateway", "-c", code, entrypoint="python").strip() == "[] True"


@pytest.mark.parametrize("role", ROLES)
def test_no_layer_has_a_key(role: str, docker_client: Any, images: dict[str, Any]) -> None:
    files = 0
    for layer in _layers(docker_client, images[role], role):
        for member in layer:
            name = member.name
            if not name.startswith(("opt/", "etc/libmpc", "var/lib/libmpc", "src/")):
                continue  # the base image's, which is not ours
            assert not name.endswith((".key", "credentials.yaml", "party.yaml", "gateway.yaml"))
            file = layer.extractfile(member) if member.isfile() else None
            if file is not None:
                files += 1
                assert not _PEM_KEY.search(file.read()), name
    assert files > 500
    shown = json.dumps([images[role].attrs, images[role].history()])
    assert "PRIVATE" not in shown
    assert not re.search(r"(?i)(password|secret|token)=", shown)


def _layers(client: Any, image: Any, role: str) -> Any:
    with tarfile.open(fileobj=io.BytesIO(b"".join(image.save()))) as saved:
        (manifest,) = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
        base = len(client.images.get("python:3.11-slim-bookworm").attrs["RootFS"]["Layers"])
        for name in manifest["Layers"][base:]:
            with tarfile.open(fileobj=saved.extractfile(name)) as layer:
                yield layer
