"""The NetworkPolicies allow the arrows of the trust picture, and no other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kubernetes.overlays import FOLDER, namespace, of_kind, rendered, workloads
from tests.kubernetes.reach import End, arrows

PORT = 8443
OTHER_PORTS = (22, 53, 80, 443, 5432, 6443, 8081, 9090)
#: who calls whom, of gateways (g) and parties: docs/three-organisations.md
PICTURE = {("g", "0"), ("g", "1"), ("g", "2"), ("0", "1"), ("0", "2"), ("1", "2")}
ADDRESSES = {
    "g": "198.51.100.20",
    "0": "192.0.2.10",
    "1": "192.0.2.11",
    "2": "192.0.2.12",
    "database": "203.0.113.30",
    "stranger": "203.0.113.99",
}
DNS = End("dns", "kube-system", {"k8s-app": "kube-dns"}, "10.1.0.53")
NEIGHBOUR = End("neighbour", "elsewhere", {"app.kubernetes.io/name": "libmpc-party"}, "10.1.0.66")
INTRUDER = End("intruder", "libmpc-party0", {}, "10.1.0.77")  # a pod that is none of ours


def outside(*names: str) -> list[End]:
    return [End(name, address=ADDRESSES[name]) for name in names]


def pods(documents: Any) -> list[End]:
    """Two pods of every party, one of the gateway, with the labels that their templates have."""
    found = []
    for workload in workloads(documents):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        place = namespace(workload)
        if workload["kind"] == "Deployment":
            found.append(End("g", place, labels))
            continue
        for index in range(2):
            own = {**labels, "statefulset.kubernetes.io/pod-name": f"party-{index}"}
            found.append(End(f"{place.removeprefix('libmpc-party')}:{index}", place, own))
    return found


def policies(documents: Any) -> list[dict[str, Any]]:
    return of_kind(documents, "NetworkPolicy")


def test_one_cluster() -> None:
    documents = rendered("overlays/trying-out")
    own = pods(documents)
    assert {end.name for end in own} == {"g", *(f"{p}:{n}" for p in range(3) for n in range(2))}
    ends = [*own, DNS, NEIGHBOUR, INTRUDER, *outside("stranger")]
    expected = {
        (caller.name, called.name)
        for caller in own
        for called in own
        if (caller.name[0], called.name[0]) in PICTURE
    }
    # Replicas copy from their own party's pod 0.
    expected |= {(f"{party}:1", f"{party}:0") for party in range(3)}
    # Clients are anywhere.
    expected |= {("stranger", "g"), ("neighbour", "g"), ("dns", "g")}
    # Policies of other namespaces are none of ours.
    inside = {end.name for end in own} | {INTRUDER.name}
    found = arrows(policies(documents), ends, PORT)
    assert {pair for pair in found if set(pair) & inside} == expected


@pytest.mark.parametrize("party", [0, 1, 2])
def test_one_organisation(party: int) -> None:
    documents = rendered(f"overlays/organisation-party/party{party}")
    own = pods(documents)
    names = [name for name in ("g", "0", "1", "2", "stranger") if name != str(party)]
    found = arrows(policies(documents), [*own, DNS, NEIGHBOUR, *outside(*names)], PORT)
    inside = {end.name for end in own}
    expected = {
        (caller, called)
        for one, other in PICTURE
        for caller in ([f"{party}:0", f"{party}:1"] if one == str(party) else [one])
        for called in ([f"{party}:0", f"{party}:1"] if other == str(party) else [other])
    }
    expected.add((f"{party}:1", f"{party}:0"))
    assert {pair for pair in found if set(pair) & inside} == {
        pair for pair in expected if set(pair) & inside
    }


def test_gateways_of_their_own() -> None:
    documents = rendered("overlays/organisation-gateway")
    ends = [*pods(documents), DNS, *outside("0", "1", "2", "database", "stranger")]
    found = {pair for pair in arrows(policies(documents), ends, PORT) if "g" in pair}
    expected = {("g", "0"), ("g", "1"), ("g", "2")}
    assert found == expected | {
        (name, "g") for name in ("0", "1", "2", "database", "stranger", "dns")
    }
    asked = {pair for pair in arrows(policies(documents), ends, 5432) if "g" in pair}
    assert asked == {("g", "database")}


@pytest.mark.parametrize(
    "name",
    ["trying-out", "organisation-gateway", *(f"organisation-party/party{i}" for i in range(3))],
)
def test_no_other_port_but_names(name: str) -> None:
    documents = rendered(f"overlays/{name}")
    own = pods(documents)
    ends = [*own, DNS, NEIGHBOUR, *outside("stranger")]
    inside = {end.name for end in own}
    for port in OTHER_PORTS:
        for protocol in ("TCP", "UDP"):
            found = arrows(policies(documents), ends, port, protocol)
            dns = {(pod, "dns") for pod in inside} if port == 53 else set()
            assert {pair for pair in found if set(pair) & inside} == dns
    assert not {p for p in arrows(policies(documents), ends, PORT, "UDP") if set(p) & inside}


@pytest.mark.parametrize("name", ["party", "gateway"])
def test_monitoring_reaches_the_health_port_and_nothing_else(name: str) -> None:
    documents = rendered(f"checks/{name}")
    own = pods(documents)
    prometheus = End("prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"})
    ends = [*own, prometheus, NEIGHBOUR]
    scraped = {("prometheus", end.name) for end in own}
    inside = {end.name for end in own}
    found = arrows(policies(documents), ends, 8081)
    assert {pair for pair in found if set(pair) & inside} == scraped
    if name == "party":
        links = arrows(policies(documents), ends, PORT)
        assert not {pair for pair in links if "prometheus" in pair and set(pair) & inside}


def test_every_namespace_denies_by_default() -> None:
    for path in sorted((FOLDER / "overlays").rglob("kustomization.yaml")):
        documents = rendered(str(path.parent.relative_to(FOLDER)))
        closed = {
            namespace(policy)
            for policy in policies(documents)
            if policy["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        }
        assert closed == {namespace(workload) for workload in workloads(documents)}


@pytest.mark.parametrize("lost", ["default-deny", "from-peers", "to-peers", "replicas-to-pod-0"])
def test_a_policy_that_is_lost_is_noticed(lost: str) -> None:
    documents = rendered("overlays/trying-out")
    ends = [*pods(documents), NEIGHBOUR, INTRUDER]
    whole = policies(documents)
    less = [policy for policy in whole if policy["metadata"]["name"] != lost]
    assert arrows(less, ends, PORT) != arrows(whole, ends, PORT)
