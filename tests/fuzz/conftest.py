"""Ends what the parsers' table has started."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz import targets_gateway


@pytest.fixture(scope="package", autouse=True)
def _gateway() -> Iterator[None]:
    yield
    targets_gateway.close()
