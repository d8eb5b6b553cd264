from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from services.common.http1_connection import MAX_CONNECTIONS
from services.common.loop import allow_connections


@pytest.fixture(autouse=True)
def _limits() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_open_files_are_as_many_as_connections_may_need() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_connections()
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert soft == (8192 if hard == resource.RLIM_INFINITY else min(8192, hard))
    if soft == 8192:
        assert soft > 2 * MAX_CONNECTIONS


def test_a_higher_number_stays() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_connections(16)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
