"""A running compose project: its containers, and what one can do to them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tests.containers.engine import Compose

SERVICES = ("party0", "party1", "party2", "gateway")

# Runs inside of a container, where process 1 is the engine's small init.
_SERVICE = """
import os
def pids():
    for name in os.listdir("/proc"):
        if name.isdigit() and name != "1" and int(name) != os.getpid():
            try:
                line = open(f"/proc/{name}/cmdline", "rb").read()
            except OSError:
                continue
            if b"--config" in line:
                yield int(name)
"""
KILL_SERVICE = f"{_SERVICE}\nfor pid in pids(): os.kill(pid, 9)"
# The service becomes the first choice of the kernel, then memory is used up.
_EXHAUST = f"""{_SERVICE}
for pid in pids():
    open(f"/proc/{{pid}}/oom_score_adj", "w").write("1000")
hold = []
while True:
    hold.append(bytearray(b"x") * (32 << 20))
"""


class Stack:
    """The four services of one project."""

    def __init__(self, client: Any, compose: Compose) -> None:
        import docker.errors

        self.client = client
        self.compose = compose
        self.not_found = docker.errors.NotFound
        self.refused = docker.errors.APIError

    def container(self, service: str) -> Any:
        """The service's container, as it is now."""
        labels = [
            f"com.docker.compose.project={self.compose.project}",
            f"com.docker.compose.service={service}",
        ]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found

    def python(self, service: str, code: str) -> str:
        """Run Python in a container and return what it printed."""
        status, output = self.container(service).exec_run(["python", "-c", code])
        assert status == 0, output.decode()
        text: str = output.decode()
        return text

    def health(self, service: str) -> dict[str, Any]:
        """What the service says of itself."""
        _, output = self.container(service).exec_run(["libmpc-health", "ready"])
        try:
            document: dict[str, Any] = json.loads(output)
        except ValueError:
            return {"ready": False, "reason": output.decode(errors="replace")}
        return document

    def kill(self, service: str) -> None:
        """End the process by SIGKILL; the restart policy has to bring it back."""
        before = self.started(service)
        self.container(service).exec_run(["python", "-c", KILL_SERVICE])
        until(lambda: self.started(service) != before, 30, f"{service} is started again")

    def exhaust(self, service: str) -> None:
        """Use up the container's memory until the kernel ends the service."""
        before = self.started(service)
        self.container(service).exec_run(["python", "-c", _EXHAUST])
        until(lambda: self.started(service) != before, 30, f"{service} is started again")

    def restart(self, service: str) -> None:
        """As an operator does it."""
        self.container(service).restart(timeout=10)

    def pause(self, service: str, seconds: float) -> None:
        """Freeze a container for a while."""
        container = self.container(service)
        self._freeze(container)
        try:
            time.sleep(seconds)
        finally:
            container.unpause()

    def _freeze(self, container: Any) -> None:
        # Where a health check begins at the same moment, the engine's runtime gives up ("unable to
        # freeze"); that is about the engine, and the next attempt works.
        for _ in range(20):
            try:
                container.pause()
            except self.refused as error:
                if "unable to freeze" not in str(error):
                    raise
                time.sleep(0.3)
            else:
                return
        raise AssertionError("the engine could not pause the container")

    def disconnect(self, service: str, seconds: float) -> None:
        """Cut a container off all its networks for a while."""
        container = self.container(service)
        names = list(container.attrs["NetworkSettings"]["Networks"])
        networks = [self.client.networks.get(name) for name in names]
        for network in networks:
            network.disconnect(container)
        try:
            time.sleep(seconds)
        finally:
            for network in networks:
                network.connect(container, aliases=[service])

    def started(self, service: str) -> str:
        """When the container was last started."""
        state = self.container(service).attrs["State"]
        return str(state["StartedAt"])


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: it is not, after so many seconds.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
