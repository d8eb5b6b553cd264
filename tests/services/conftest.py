"""Certificates and event loops for tests of services."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
import uvloop

from services.common.tls import TlsFiles
from tests.services.certificates import make_certificates
from tests.services.http2 import Run


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    return make_certificates(tmp_path_factory.mktemp("tls"), ["zero", "one"])


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TlsFiles]:
    """Certificates of CAs that nobody in ``files`` trusts."""
    return make_certificates(tmp_path_factory.mktemp("strangers"), ["eve"])


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    loop = asyncio.run if request.param == "asyncio" else uvloop.run

    def start(main: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(main, 30)

        loop(bounded())

    return start
