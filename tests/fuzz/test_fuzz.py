"""The short tier: every parser of strangers' bytes, some hundred inputs each."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.fuzz.__main__ import main
from tests.fuzz.harness import MIB, Target, Trial, WrongError
from tests.fuzz.targets import all_targets

pytestmark = pytest.mark.timeout(300)  # what is slow on purpose is slower on a busy machine
TARGETS = {target.name: target for target in all_targets()}


@pytest.mark.parametrize("name", TARGETS)
def test_only_documented_errors(name: str) -> None:
    trial = Trial(TARGETS[name], seed=7)
    for _ in range(10):
        trial.step()
    trial.run(0.3)
    assert not trial.tally.findings, [f.what for f in trial.tally.findings.values()]
    assert trial.tally.refused > 0  # the mutations do reach the parser


def _careless(data: bytes) -> object:
    fields = json.loads(data)
    return fields["name"].encode(), fields["count"] + 1


def _slow(data: bytes) -> object:
    fields = json.loads(data)
    if fields.get("count") != 1:
        sum(range(2_000_000))
    return fields


def _hungry(data: bytes) -> object:
    fields = json.loads(data)
    return bytes(max(0, min(int(fields["count"]), 1 << 24)))


def _believing(data: bytes) -> object:
    if json.loads(data).get("name") != "digits":
        raise WrongError("another name")
    return None


BROKEN: dict[str, tuple[Callable[[bytes], object], str]] = {
    "an error that nobody documented": (_careless, "KeyError"),
    "time": (_slow, "time"),
    "memory": (_hungry, "memory"),
    "a wrong acceptance": (_believing, "another name"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_parser_is_found(name: str) -> None:
    """The harness itself can fail."""
    parse, what = BROKEN[name]
    target = Target(
        name, [[{"name": "digits", "count": 1}]], parse, (ValueError,), seconds=0.004, memory=MIB
    )
    trial = Trial(target, seed=7, watch=1)
    for _ in range(300):
        trial.step()
    assert any(what in finding.what for finding in trial.tally.findings.values())


def test_the_long_tier_counts_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seconds", "0.2", "--seed", "1", "--only", "hello", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    tried = report["parsers"]["link hello"]
    assert tried["tried"] == tried["accepted"] + tried["refused"] > 10
    assert main(["--seconds", "0.2", "--only", "hello"]) == 0
    assert "link hello" in capsys.readouterr().out
