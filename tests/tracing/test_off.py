"""Without tracing nothing of OpenTelemetry is there; with it, and not installed, it says so."""

from __future__ import annotations

import builtins
import subprocess
import sys
from typing import Any

import pytest

from libmpc.errors import ConfigError
from libmpc.tracing import is_traceparent
from services.common.tracing import ServiceTracing

#: newer FastAPIs import OpenTelemetry's interface for themselves, which does nothing by itself
PROGRAM = """
import sys
import libmpc.client, libmpc.cli.main
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
import services.gateway.main, services.party.main
from services.common.tracing import ServiceTracing
assert ServiceTracing(False, "gateway").tracing is None
parts = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
print([name for name in sys.modules if name.startswith(parts)])
"""


def test_nothing_is_imported() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'libmpc\[otel\]'"):
        ServiceTracing(True, "gateway")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (f"00-{'a' * 32}-{'1' * 16}-01", True),
        (f"00-{'a' * 32}-{'1' * 16}-00", True),
        (f"00-{'a' * 32}-{'1' * 16}-01\n", False),
        (f"00-{'0' * 32}-{'1' * 16}-01", False),
        (f"00-{'a' * 32}-{'0' * 16}-01", False),
        (f"00-{'A' * 32}-{'1' * 16}-01", False),
        (f"01-{'a' * 32}-{'1' * 16}-01", False),
        (f"00-{'a' * 32}-{'1' * 16}-ff", False),
        ("", False),
        ("00", False),
    ],
)
def test_only_well_formed_parents_count(text: str, good: bool) -> None:
    assert is_traceparent(text) == good
