"""What a service shows of its machine: certificates as they are now, the disk, the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry

from services.common.machine import Machine

_EXPIRY = "libmpc_service_certificate_expiry_timestamp_seconds"


def certificate(days: int) -> tuple[bytes, float]:
    """A certificate in PEM, and when it ends."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC).replace(microsecond=0)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "party")])
    end = now + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(days)
        .not_valid_before(now)
        .not_valid_after(end)
        .sign(key, None)
    )
    return made.public_bytes(Encoding.PEM), end.timestamp()


def registry(data: Path, **files: Path) -> CollectorRegistry:
    found = CollectorRegistry()
    Machine(data, files).register(found)
    return found


def test_the_first_certificate_that_ends_counts_and_a_new_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "authorities.pem"
    (late, _), (early, end) = certificate(90), certificate(30)
    path.write_bytes(late + early)
    shown = registry(tmp_path, authority=path, own=tmp_path / "missing.crt")
    assert shown.get_sample_value(_EXPIRY, {"kind": "authority"}) == end
    assert shown.get_sample_value(_EXPIRY, {"kind": "own"}) is None
    newer, end = certificate(60)
    path.write_bytes(newer)
    os.utime(path, ns=(1, 1))
    assert shown.get_sample_value(_EXPIRY, {"kind": "authority"}) == end
    path.write_text("no certificate")
    assert shown.get_sample_value(_EXPIRY, {"kind": "authority"}) is None
    assert shown.get_sample_value("libmpc_service_disk_size_bytes")


def test_the_disk_of_the_data(tmp_path: Path) -> None:
    shown = registry(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    assert shown.get_sample_value("libmpc_service_disk_size_bytes") == usage.total
    assert 0 < (shown.get_sample_value("libmpc_service_disk_free_bytes") or 0) <= usage.total
    gone = registry(tmp_path / "nowhere")
    assert gone.get_sample_value("libmpc_service_disk_free_bytes") is None


def test_lag_is_measured(tmp_path: Path) -> None:
    found = CollectorRegistry()
    machine = Machine(tmp_path, {})
    machine.register(found)

    def count() -> float:
        return found.get_sample_value("libmpc_service_loop_lag_seconds_count") or 0

    async def main() -> None:
        watch = asyncio.ensure_future(machine.watch())
        async with asyncio.timeout(60):
            while not count():  # noqa: ASYNC110, what it looks at has no events
                await asyncio.sleep(0.01)
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    asyncio.run(main())
    assert count() >= 1
