"""Every series that a service can show, and what a PromQL expression asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector

from services.common.machine import COMMON
from services.gateway.families import FAMILIES as GATEWAY
from services.party.families import FAMILIES as PARTY

#: what Prometheus itself adds to every series
ADDED = {"job", "instance"}


def series() -> dict[str, set[str]]:
    """The labels of every series, by its name."""
    found: dict[str, set[str]] = {"up": set()}
    for family in (*COMMON, *PARTY, *GATEWAY):
        labels = set(family.labels)
        if family.kind == "histogram":
            found[f"{family.shown}_bucket"] = labels | {"le"}
            found[f"{family.shown}_sum"] = found[f"{family.shown}_count"] = labels
        else:
            found[family.shown] = labels
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for metric in registry.collect():
        found |= {sample.name: set(sample.labels) for sample in metric.samples}
    return {name: labels | ADDED for name, labels in found.items()}


def values() -> dict[str, dict[str, set[str]]]:
    """The values that are listed for a label, by series and label; labels without a list left out.

    A label's values are listed where its description is nothing but names in backticks.
    """
    found: dict[str, dict[str, set[str]]] = {}
    for family in (*COMMON, *PARTY, *GATEWAY):
        listed = {
            label: set(re.findall(r"`([^`]*)`", text))
            for label, text in family.labels.items()
            if re.fullmatch(r"(`[^`]*`(, )?)+", text)
        }
        for part in ("", "_bucket", "_sum", "_count") if family.kind == "histogram" else ("",):
            found[family.shown + part] = listed
    return found


def selectors(expr: Any) -> Iterator[Any]:
    """Every vector selector of a parsed expression."""
    parser = __import__("promql_parser")
    if isinstance(expr, parser.VectorSelector):
        yield expr
    elif isinstance(expr, parser.MatrixSelector):
        yield expr.vector_selector
    for part in children(expr):
        yield from selectors(part)


def groupings(expr: Any) -> Iterator[str]:
    """Every label that is grouped or matched by."""
    modifier = getattr(expr, "modifier", None)
    for where in (modifier, getattr(modifier, "matching", None)):
        yield from getattr(where, "labels", None) or ()
    yield from getattr(modifier, "group_labels", None) or ()
    for part in children(expr):
        yield from groupings(part)


def children(expr: Any) -> Iterator[Any]:
    """The direct parts of a parsed expression."""
    for name in ("expr", "lhs", "rhs", "param"):
        if (part := getattr(expr, name, None)) is not None:
            yield part
    yield from getattr(expr, "args", None) or ()


def problems(text: str, known: dict[str, set[str]]) -> Iterator[str]:
    """What is wrong with an expression: names, labels and values that no service shows."""
    parser = __import__("promql_parser")
    expr, listed = parser.parse(text), values()
    labels: set[str] = set()
    for selector in selectors(expr):
        matchers = selector.matchers.matchers
        names = {selector.name} if selector.name else set()
        for matcher in matchers:
            if matcher.name == "__name__":
                names = set(matcher.value.split("|"))
        for name in names:
            if name not in known:
                yield f"there is no {name}"
                continue
            labels |= known[name]
            for matcher in matchers:
                if matcher.name not in known[name] | {"__name__"}:
                    yield f"{name} has no label {matcher.name}"
                if (there := listed.get(name, {}).get(matcher.name)) and "$" not in matcher.value:
                    for value in set(matcher.value.split("|")) - there:
                        yield f"{name}: {matcher.name} is never {value}"
    for label in groupings(expr):
        if label not in labels:
            yield f"nothing in it has a label {label}"
