"""What must be true when nothing is wrong any more and nobody asks for anything."""

from __future__ import annotations

from libmpc.party.evaluator import Evaluator
from libmpc.party.node import PartyNode
from tests.simulation.http import Exchange
from tests.simulation.materials import gateway_settings
from tests.simulation.oracle import Stored, Violation
from tests.simulation.world import PartyHost, World

#: what anything may take longer than its timeout
SLACK = 0.5


def agreed(world: World, name: str) -> Stored | None:
    """What all three parties have under a name.

    Raises:
        Violation: they disagree, or it is nothing that it can be.
    """
    found = [_stored(party, name) for party in world.parties]
    if len(set(found)) != 1:
        raise Violation(f"the parties disagree on {name}: {found}")
    possible = world.oracle.name(name).possible
    if found[0] not in possible:
        raise Violation(f"{name} is {found[0]}, which cannot be; possible: {possible}")
    return found[0]


def _node(party: PartyHost) -> PartyNode:
    assert party.node is not None
    return party.node


def _stored(party: PartyHost, name: str) -> Stored | None:
    entry = _node(party).catalog.by_name(name)
    if entry is None:
        return None
    record = entry.record
    return Stored(record.model, record.serving, record.num_requests)


def has_room(world: World, stored: Stored) -> bool:
    """Whether a model may still answer, by the counts on both evaluators' disks."""
    counts = [party.disk.rows()[stored.model][3] for party in world.parties[:2]]
    return stored.limit is None or max(counts) < stored.limit


def nothing_left(world: World) -> None:
    """No run, no query and no request is left; none took longer than it may.

    Raises:
        Violation: one is, or did.
    """
    for party in world.parties:
        node = _node(party)
        role = getattr(node.role.now, "_role", None)
        left = {
            "queries": [query for query in node.desk._known.values() if query is not None],
            "waits for envelopes": node.desk._awaited,
            "reservations": node.desk._admission._in_flight,
            "streamed bundles": node.role.streams,
            "runs": role._runs if isinstance(role, Evaluator) else (),
            "tasks of the epoch": role._tasks if isinstance(role, Evaluator) else (),
        }
        for what, things in left.items():
            if things:
                raise Violation(f"{party.name}: {what} are left: {things}")
    for host in world.gateways:
        if host.process.gateway.router.first.batcher._queues:  # type: ignore[attr-defined]
            raise Violation(f"{host.name}: queries are left")
    for process, exchange in world.exchanges:
        if process.dead or process.was_frozen:
            continue
        what = f"{process.name}: {exchange.method} {exchange.path}"
        if exchange.ended is None:
            raise Violation(f"{what} is left")
        if (took := exchange.ended - exchange.began) > _limit(exchange) + SLACK:
            raise Violation(f"{what} took {took:.1f} s")


def _limit(exchange: Exchange) -> float:
    """Seconds that a gateway may take for a request."""
    settings = gateway_settings()
    if exchange.method == "GET":
        return 2 * settings.call_timeout  # the list and the keys, or whether it is ready
    if exchange.method == "PUT":
        return 6 * (settings.push_timeout + settings.commit_timeout)  # one after the other
    if exchange.path.endswith("/infer"):
        return settings.query_timeout + settings.call_timeout
    return settings.commit_timeout
