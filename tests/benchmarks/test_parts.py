"""What benchmarks are made of: networks, fits, pictures, tables."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import machine, report
from benchmarks.__main__ import GROUPS
from benchmarks.growth import Fit
from benchmarks.networks import CNN, PERCEPTRON, Network, perceptron, resnet
from benchmarks.plot import plot
from benchmarks.processes import Processes
from benchmarks.rows import Row, Unit
from libmpc.graph.plan import ReluStep

ROOT = Path(__file__).parents[2]


def counts(network: Network) -> tuple[int, int]:
    """Multiplications and ReLUs."""
    plan = network.model.plan
    relus = sum(step.size for step in plan.steps if isinstance(step, ReluStep))
    return sum(step.macs for step in plan.linear_steps.values()), relus


def test_networks_have_the_sizes_that_are_documented() -> None:
    macs, relus = counts(resnet())
    assert (round(macs / 1e6), relus) == (41, 188_416)
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for network in (CNN, PERCEPTRON):
        macs, relus = counts(network)
        assert f"{macs:,} multiplications, {relus:,} ReLUs" in page


@pytest.mark.parametrize("network", [CNN, resnet(blocks=1, side=8), perceptron(16, 3, inputs=5)])
def test_plaintext_is_the_same_network(network: Network) -> None:
    x = network.inputs(3)
    assert np.allclose(network.plaintext(x), network.model.reference(x), atol=0.01)


def test_every_group_is_documented() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE) == list(GROUPS)


def test_a_line_is_found_again() -> None:
    x = [1, 2, 8, 64, 512]
    fit = Fit.of(x, [3.0 + 0.25 * n for n in x])
    assert (fit.fixed, fit.each) == pytest.approx((3.0, 0.25))
    assert fit.worst < 1e-9
    assert Fit.of([1, 2, 3], [1.0, 4.0, 1.0]).worst > 0.2


def test_a_picture_shows_every_point() -> None:
    points = [(1, 20.0), (8, 26.0), (512, 400.0)]
    root = ElementTree.fromstring(plot("images < n", "ms", points, lambda x: 19 + 0.75 * x))
    space = "{http://www.w3.org/2000/svg}"
    circles = root.findall(f"{space}circle")
    places = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in circles]
    assert len(places) == 3
    assert places == sorted(places)  # to the right ...
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)  # ... and up
    assert "images < n" in [text.text for text in root.findall(f"{space}text")]


@pytest.mark.parametrize(
    ("value", "unit", "target", "met"),
    [
        (9.9, "ms", 10, True),
        (10.1, "ms", 10, False),
        (451, "images/s", 450, True),
        (449, "images/s", 450, False),
        (1.2, "×", 1.25, False),
        (1.0, "s", None, None),
    ],
)
def test_whether_a_target_is_met(
    value: float, unit: Unit, target: float | None, met: bool | None
) -> None:
    assert Row("cnn", "a row", value, unit, target).met is met


def test_reports_have_every_row() -> None:
    rows = [
        Row("cnn", "first", 12.345, "ms", 10, {"p99_ms": 20.0, "times_plaintext": 17.2}),
        Row("cnn", "second", 900.4, "images/s", 450, {"cpu_ms_per_image": {"party 0": 0.5}}),
    ]
    found = machine.describe()
    document = json.loads(json.dumps(report.document(found, rows)))
    assert [(r["title"], r["met"]) for r in document["results"]] == [
        ("first", False),
        ("second", True),
    ]
    assert re.search(
        r"^first +12\.3 ms +≤ 10 ms +no +20\.0 ms +17\.2$", report.text(found, rows), re.MULTILINE
    )
    assert "| second | 900 images/s | ≥ 450 images/s | yes |" in report.markdown(found, rows)


def test_processes_that_have_gone_are_left_out() -> None:
    processes = Processes({"here": os.getpid(), "down": None, "gone": 1 << 30})
    assert processes.cpu_seconds().keys() == {"here"}
    processes.reset_peaks()
    memory = processes.memory()["here"]
    assert 0 < memory["pss"] <= memory["resident"] <= memory["peak"]
