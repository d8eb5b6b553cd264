"""A party's counters against what was really done, with nothing in them that is private."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from prometheus_client.exposition import generate_latest

from libmpc.errors import UnavailableError
from libmpc.link import LinkError
from libmpc.party.meters import REASONS, Meters
from libmpc.party.pool import BundlePool
from libmpc.party.run import RunAborted
from libmpc.protocol import ProtocolError
from libmpc.runtime import plan_cost, prepared_sizes
from libmpc.wire.errors import WireError
from services.party.families import FAMILIES
from services.party.metrics import party_registry
from tests.party.test_pool import KEY, fill
from tests.party.test_queries import PLAN, WEIGHTS, inputs, statuses
from tests.party.triple import Triple, expected, perceptron, triple, until


def values(parties: Triple, party: int) -> Callable[..., float | None]:
    registry = party_registry(parties.nodes[party])

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"libmpc_{name}", labels)

    return value


def test_everything_is_counted_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            for batch in (1, 1, 7):
                x = inputs(batch)
                assert np.array_equal(await gateway.query(x), expected(PLAN, WEIGHTS, x))
            damaged = await gateway.seal_query(inputs())
            damaged.envelopes[0] = bytes(len(damaged.envelopes[0]))
            (futures,) = await gateway.send([damaged])
            assert 200 not in await statuses(futures)
            rounds = plan_cost(PLAN, 1).rounds
            for party in (0, 1):
                value = values(parties, party)
                assert value("party_queries_total", outcome="answered") == 3
                refused = [value("party_queries_total", outcome=o) for o in ("rejected", "invalid")]
                late = value("party_queries_total", outcome="unavailable")
                assert sum(n or 0 for n in (*refused, late)) == 1
                for phase in ("opening", "waiting", "sealing"):
                    count = value("party_query_phase_seconds_count", phase=phase)
                    assert count == (4 if phase == "opening" else 3)
                assert value("party_run_phase_seconds_count", phase="evaluation") == 3
                assert value("party_round_seconds_count") == 3 * rounds
                assert value("party_run_images_sum") == 9
                for batch, runs, images in (("1", 2, 2), ("8", 1, 7)):
                    key = {"model": "mnist", "batch": batch}
                    assert value("party_runs_total", **key, outcome="finished") == runs
                    assert value("party_rows_total", **key, kind="input") == images
                    assert (
                        value("party_rows_total", **key, kind="padding")
                        == runs * int(batch) - images
                    )
                    assert value("party_bundles_used_total", **key) == runs
                assert value("party_bundle_phase_seconds_count", phase="preparing")
            for party, peer in ((0, "1"), (1, "2"), (2, "0")):
                value = values(parties, party)
                wire = {"peer": peer, "wire": "1.2"}
                assert value("party_link_version_info", **wire) == 1
                assert value("party_link_rekeys_total", peer=peer) == 0
                assert value("party_dealer_alarm") == value("party_damaged_models") == 0
                assert value("party_storage_errors_total") == 0
                assert 0 <= (value("party_envelope_key_age_seconds") or 0) < 600
            leader = values(parties, 0)
            for batch in ("1", "8"):
                key = {"model": "mnist", "batch": batch}
                assert (leader("party_pool_target_bundles", **key) or 0) >= 1
                assert values(parties, 1)("party_pool_target_bundles", **key) is None
            # Nobody had asked for eight at a time before, so none was ready.
            assert leader("party_pool_waits_total", model="mnist", batch="8") == 1
            dealer = values(parties, 2)
            assert dealer("party_queries_total", outcome="answered") == 0
            key = {"model": "mnist", "batch": "1"}
            assert (dealer("party_bundles_dealt_total", **key) or 0) >= 2

    asyncio.run(main())


def test_what_is_answered_makes_no_series(tmp_path: Path) -> None:
    """Clients choose among outputs, so neither counters nor metrics have one for each."""
    plan, weights = perceptron(outputs=10)

    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(plan, weights)
            asked = ("label", "topk:2", "topk:3", "scores:3", "logits")
            for output in asked:
                await gateway.query(inputs(1), output=output)
            key = {"model": "mnist", "batch": "1"}
            for party in (0, 1):
                node, value = parties.nodes[party], values(parties, party)
                assert value("party_runs_total", **key, outcome="finished") == len(asked)
                assert value("party_bundles_used_total", **key) == len(asked)
                assert set(node.meters.keys) == {(model, 1)}
                held = [count for (_, rung), count in node.role.levels.items() if rung == 1]
                assert value("party_pool_bundles", **key) == sum(held)
            registry = party_registry(parties.nodes[2])
            samples = (sample for metric in registry.collect() for sample in metric.samples)
            assert {s.labels["model"] for s in samples if "model" in s.labels} == {"mnist"}

    asyncio.run(main())


def test_what_is_shown_is_what_is_declared_and_no_more(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            await gateway.push(PLAN, WEIGHTS)
            query = await gateway.seal_query(inputs())
            (futures,) = await gateway.send([query])
            await asyncio.gather(*futures)
            declared = {family.name: set(family.labels) for family in FAMILIES}
            for node in parties.nodes.values():
                registry = party_registry(node)
                shown = {m.name: m for m in registry.collect() if m.name.startswith("libmpc_party")}
                assert set(shown) == set(declared)
                for name, metric in shown.items():
                    assert all(set(s.labels) - {"le"} == declared[name] for s in metric.samples)
                text = generate_latest(registry).decode()
                for secret in (query.header.number, query.header.model, query.header.key_ids[0]):
                    assert secret not in text

    asyncio.run(main())


def test_traffic_goes_on_counting_over_links_that_come_and_go(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            await (await parties.gateway()).push(PLAN, WEIGHTS)
            value = values(parties, 0)
            before = value("party_link_messages_total", peer="1", direction="sent")
            assert before
            assert value("party_link_up", peer="1") == 1
            epoch = parties.nodes[0].peers.epoch
            await parties.streams[0, 1].close()
            await until(lambda: parties.nodes[0].peers.epoch not in (None, epoch))
            await parties.ready()
            assert value("party_links_total", peer="1") == 2
            assert (value("party_link_messages_total", peer="1", direction="sent") or 0) > before
            assert value("party_epochs_total") == 2

    asyncio.run(main())


def test_a_deleted_model_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with triple(tmp_path) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, WEIGHTS)
            await gateway.query(inputs())
            node = parties.nodes[0]
            await until(lambda: node.role.levels.get((model, 1), 0) >= 1)
            size = values(parties, 0)("party_pool_bytes") or 0
            assert size >= sum(prepared_sizes(PLAN, 1).values())
            await gateway.command(model, "stop")
            await gateway.command(model, "delete")
            assert not [key for key in node.meters.keys if key[0] == model]
            assert "mnist" not in generate_latest(party_registry(node)).decode()
            assert values(parties, 0)("party_pool_bytes") == 0

    asyncio.run(main())


def test_bundles_that_nobody_will_use_are_counted() -> None:
    async def main() -> None:
        meters = Meters()
        with ThreadPoolExecutor(1) as executor:
            pool = BundlePool(executor, meters)
            await fill(pool, 1, 2, 3, 4, 5)
            await pool.take(KEY, 1)
            pool.drop(2)
            pool.drop_model("cd" * 32)
            assert meters.of(KEY).dropped == 1
            pool.drop_model(KEY[0])
            assert meters.of(KEY).dropped == 4
            await fill(pool, 6, 7)
            pool.reset()
        assert (meters.of(KEY).prepared, meters.of(KEY).used, meters.of(KEY).dropped) == (7, 1, 6)

    asyncio.run(main())


def test_every_failure_has_one_of_few_reasons() -> None:
    meters = Meters()
    for error in (
        RunAborted(),
        LinkError("gone"),
        WireError("no"),
        ProtocolError(),
        UnavailableError("too late", code="no_bundle"),
        UnavailableError("something"),
        KeyError("a mistake"),
    ):
        meters.failed(error)
    assert meters.failures == {
        "aborted": 1,
        "link": 1,
        "protocol": 2,
        "no_bundle": 1,
        "unavailable": 1,
        "internal": 1,
    }
    assert set(meters.failures) <= set(REASONS)
