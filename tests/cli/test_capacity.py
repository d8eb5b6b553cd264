"""``libmpc capacity`` as people and programs see it."""

from __future__ import annotations

import pytest

from libmpc import data
from libmpc.cli.capacity import number
from tests.cli.run import Cli

SHIPPED = data.model_path("short-conv-mnist.h5")


def test_every_line_has_its_arithmetic(cli: Cli) -> None:
    result = cli("capacity", SHIPPED, "--load", "1000", "--price-core-hour", "0.04")
    assert result.code == 0
    for what in ("triples", "cores", "memory", "party 2 → party 1", "a million images"):
        (line,) = [line for line in result.out.splitlines() if line.startswith(f"{what}  ")]
        assert any(sign in line for sign in ("×", "÷", "+")), line
    assert "DOES NOT FIT" in result.out
    assert "TB a month" in result.out


def test_json_has_every_number(cli: Cli) -> None:
    document = cli(
        *("capacity", SHIPPED, "--load", "50", "--images-per-query", "8", "--network", "20", "100"),
        *("--json", "--spare", "0", "--output", "label"),
    ).json()
    assert document["capacity"]["rate"] == 400
    assert document["demand"]["network"]["delay"] == 0.02
    assert document["demand"]["network"]["bandwidth"] == 12.5e6
    assert document["machine"]["mac"] > 0
    assert {line["key"] for line in document["lines"]} == document["capacity"].keys()


@pytest.mark.parametrize("options", [("--load", "0"), ("--load", "1", "--network", "-1", "5"), ()])
def test_what_makes_no_sense(cli: Cli, options: tuple[str, ...]) -> None:
    assert cli("capacity", SHIPPED, *options).code == 2


@pytest.mark.parametrize(
    ("value", "shown"), [(1234.5, "1,234"), (12.345, "12.3"), (3.0, "3"), (0.001234, "0.00123")]
)
def test_numbers(value: float, shown: str) -> None:
    assert number(value) == shown
