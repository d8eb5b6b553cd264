"""What a local deployment runs: three parties and a gateway, each from its own directory."""

from __future__ import annotations

import http.client
import os
import re
import ssl
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import libmpc
from libmpc.cluster.child import Command
from libmpc.cluster.ports import Ports
from libmpc.deployment import Deployment
from libmpc.deployment_init import GATEWAY_FILE, PARTY_FILE
from libmpc.deployment_local import party_folder

LOGS = "logs"
GATEWAY_HEALTH_PORT = "LIBMPC_GATEWAY_HEALTH_PORT"
_SECONDS = 2.0
_READY = re.compile(r'^libmpc_gateway_triple_ready\{triple="(\d+)"\} (\S+)$', re.MULTILINE)


def commands(directory: Path, ports: Ports, *, logs: bool) -> list[Command]:
    """The commands, as somebody could type them: four, and three more for every further triple.

    Args:
        directory: made by ``make_all``.
        ports: the gateway's probes are the only ones that no file has.
        logs: whether each prints to a file of its own in ``logs``.
    """
    folder = directory / LOGS
    if logs:
        folder.mkdir(exist_ok=True)
    environment = {**_same_code(), GATEWAY_HEALTH_PORT: str(ports.gateway_health)}

    def command(name: str, *arguments: str) -> Command:
        log = folder / f"{name.replace(' ', '')}.log" if logs else None
        # -P: a numpy.py in the current directory must not become part of a party.
        argv = (sys.executable, "-P", "-m", "libmpc", *arguments)
        return Command(name, argv, log, environment)

    parties = [
        command(
            party_name(index, triple),
            *("party", "--index", str(index)),
            *("--config", str(directory / party_folder(index, triple) / PARTY_FILE)),
        )
        for triple in range(len(ports.triples))
        for index in range(3)
    ]
    gateway = command("gateway", "gateway", "--config", str(directory / "gateway" / GATEWAY_FILE))
    return [*parties, gateway]


def party_name(index: int, triple: int = 0) -> str:
    """What a party's process is called: ``party 0`` in triple 0, ``party 0.1`` in triple 1."""
    return f"party {index}.{triple}" if triple else f"party {index}"


def ready_triples(host: str, ports: Ports) -> dict[int, bool]:
    """The triples that the gateway knows, and whether each can answer, by its metrics."""
    connection = http.client.HTTPConnection(host, ports.gateway_health, timeout=_SECONDS)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return {int(found[1]): float(found[2]) == 1.0 for found in _READY.finditer(text)}


def is_ready(deployment: Deployment) -> bool:
    """Whether the gateway says that queries can be answered, by one triple at least."""
    address = urlsplit(deployment.gateways[0].url)
    context = ssl.create_default_context(cadata=deployment.tls_ca)
    connection = http.client.HTTPSConnection(
        address.hostname or "", address.port, timeout=_SECONDS, context=context
    )
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _same_code() -> Mapping[str, str]:
    """Have children run the libmpc that we are, also where it is not installed."""
    root = Path(libmpc.__file__).parent.parent
    if str(root) in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        return {}
    rest = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{rest}" if rest else str(root)}
