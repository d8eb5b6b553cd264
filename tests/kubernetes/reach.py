"""Who may call whom under the NetworkPolicies of an overlay, worked out as Kubernetes defines it.

A connection is allowed when no policy selects the caller for egress, or one of those allows it, and
the same for ingress at the other end.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.kubernetes.overlays import Document


@dataclass(frozen=True)
class End:
    """A pod, or an address outside the cluster (no namespace).

    Attributes:
        name: for people and for comparisons.
    """

    name: str
    namespace: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    address: str = "10.1.1.1"


def arrows(policies: list[Document], ends: Iterable[End], port: int, protocol: str = "TCP") -> set:
    """Every ordered pair of names that may connect to that port."""
    ends = list(ends)
    return {
        (caller.name, called.name)
        for caller in ends
        for called in ends
        if caller is not called
        and _allowed(policies, "Egress", caller, called, port, protocol)
        and _allowed(policies, "Ingress", called, caller, port, protocol)
    }


def _allowed(
    policies: list[Document], direction: str, pod: End, other: End, port: int, protocol: str
) -> bool:
    if pod.namespace is None:
        return True  # somebody else's network
    selecting = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and _matches(policy["spec"]["podSelector"], pod.labels)
    ]
    rules = [rule for policy in selecting for rule in policy["spec"].get(direction.lower()) or ()]
    side = "to" if direction == "Egress" else "from"
    return not selecting or any(
        (side not in rule or any(_is(peer, pod, other) for peer in rule[side]))
        and ("ports" not in rule or any(_port(one, port, protocol) for one in rule["ports"]))
        for rule in rules
    )


def _is(peer: Document, pod: End, other: End) -> bool:
    assert peer.keys() <= {"ipBlock", "namespaceSelector", "podSelector"}
    if "ipBlock" in peer:
        assert peer["ipBlock"].keys() == {"cidr"}
        network = ipaddress.ip_network(peer["ipBlock"]["cidr"])
        return ipaddress.ip_address(other.address) in network
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        namespace = {"kubernetes.io/metadata.name": other.namespace}
        if not _matches(peer["namespaceSelector"], namespace):
            return False
    elif other.namespace != pod.namespace:
        return False
    return _matches(peer.get("podSelector", {}), other.labels)


def _port(rule: Document, port: int, protocol: str) -> bool:
    assert rule.keys() == {"protocol", "port"}
    return rule["protocol"] == protocol and rule["port"] == port


def _matches(selector: Document, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    for one in selector.get("matchExpressions", ()):
        inside = labels.get(one["key"]) in one["values"]
        assert one["operator"] in ("In", "NotIn")
        if inside != (one["operator"] == "In"):
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
