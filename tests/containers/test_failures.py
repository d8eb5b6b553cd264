"""Kill, pause, cut off, restart and starve each service in turn, under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import libmpc
from libmpc.graph.model import Model
from tests.containers.load import Load, kind
from tests.containers.stack import SERVICES, Stack, until

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

# Longer than the 3 seconds of silence after which a peer counts as dead.
AWAY = 4.5
RECOVERY = 30.0

FAULTS: dict[str, Callable[[Stack, str], None]] = {
    "kill": Stack.kill,
    "pause": lambda stack, service: stack.pause(service, AWAY),
    "disconnect": lambda stack, service: stack.disconnect(service, AWAY),
    "restart": Stack.restart,
}


@pytest.fixture(scope="module")
def load(stack: Stack, model: Model, digits: np.ndarray) -> Iterator[Load]:
    with libmpc.Cluster.from_file(stack.compose.deployment) as cluster:
        served = cluster.share(model, "loaded", serve=True)
        with Load(stack.compose.deployment, "loaded", digits, model.reference(digits)) as running:
            yield running
        served.delete()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("fault", FAULTS)
def test_service_resumes_by_itself(fault: str, service: str, stack: Stack, load: Load) -> None:
    _check(load, f"{fault} {service}", lambda: FAULTS[fault](stack, service))


@pytest.mark.parametrize("service", ["party1", "gateway"])
def test_out_of_memory(service: str, stack: Stack, load: Load) -> None:
    begin = int(time.time())
    _check(load, f"exhaust {service}", lambda: stack.exhaust(service))
    filters = {"container": stack.container(service).id, "event": "oom"}
    events = stack.client.events(
        since=begin, until=int(time.time()) + 1, filters=filters, decode=True
    )
    assert list(events), "the kernel did not end it for want of memory"
    # The limit is the container's, so the others have not noticed more than an absence.
    assert all(stack.container(s).attrs["State"]["Running"] for s in SERVICES)


def _check(load: Load, what: str, fault: Callable[[], None]) -> None:
    """A fault under load: no wrong answer, clear errors only, and right answers again."""
    wrong, errors, right = load.wrong, len(load.errors), load.right
    until(lambda: load.right > right, RECOVERY, "right answers before the fault")
    load.longest = 0.0
    fault()
    done = time.monotonic()
    until(lambda: load.last_right > done, RECOVERY, f"right answers after {what}")
    seen = load.errors[errors:]
    names = set(map(kind, seen))
    print(
        f"\n{what}: {len(seen)} errors ({', '.join(sorted(names)) or '-'}), right answers "
        f"{load.last_right - done:.1f} s after its end, longest wait {load.longest:.1f} s"
    )
    assert load.broken is None
    assert load.wrong == wrong
    assert not [error for error in seen if not _is_clear(error)]
    assert load.longest < 15


def _is_clear(error: libmpc.LibmpcError) -> bool:
    if isinstance(error, libmpc.ConfigError):
        # While nobody is behind the published port, whatever this machine has in the way may
        # answer instead; the client must have refused its certificate.
        return "certificate" in str(error)
    return isinstance(error, libmpc.UnavailableError)
