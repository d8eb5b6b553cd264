"""What every service shows of the machine that it runs on, besides its own process."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from prometheus_client import CollectorRegistry

from libmpc.meters import Histogram
from services.common.metrics import BUILD, Family, Sample, ServiceCollector

LAG = Family(
    "libmpc_service_loop_lag_seconds",
    "histogram",
    "How late a call came that was due, twice a second: what every query may wait besides.",
)
EXPIRY = Family(
    "libmpc_service_certificate_expiry_timestamp_seconds",
    "gauge",
    "Unix time at which the first of these certificates ends.",
    {"kind": "`own`, `authority` (of the deployment)"},
)
DISK_FREE = Family(
    "libmpc_service_disk_free_bytes", "gauge", "What is free where the folder `data` is."
)
DISK_SIZE = Family(
    "libmpc_service_disk_size_bytes", "gauge", "The size of the file system where `data` is."
)
#: what parties and gateways have alike
COMMON = (BUILD, LAG, EXPIRY, DISK_FREE, DISK_SIZE)
_SECONDS = 0.5


class Machine:
    """Watches the event loop; looks at disk and certificates when it is scraped.

    Args:
        data: the folder whose file system counts.
        certificates: PEM files by what they are: ``own``, ``authority``; one may be missing.
    """

    def __init__(self, data: Path, certificates: Mapping[str, Path]) -> None:
        self._data = data
        self._certificates = certificates
        self._known: dict[Path, tuple[int, float]] = {}  # when it was written, when it ends
        self._lag = Histogram()

    def register(self, registry: CollectorRegistry) -> None:
        """Show it in a service's registry."""
        registry.register(ServiceCollector(COMMON[1:], self.read))

    async def watch(self) -> NoReturn:
        """Measure the event loop until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            due = now() + _SECONDS
            await asyncio.sleep(_SECONDS)
            self._lag.observe(max(0.0, now() - due))

    def read(self) -> Iterator[Sample]:
        """What there is now; what cannot be read is left out."""
        yield LAG, [], self._lag
        for kind, path in self._certificates.items():
            try:
                yield EXPIRY, [kind], self._end(path)
            except (OSError, ValueError):
                continue
        try:
            usage = shutil.disk_usage(self._data)
        except OSError:
            return
        yield DISK_FREE, [], usage.free
        yield DISK_SIZE, [], usage.total

    def _end(self, path: Path) -> float:
        """When the first certificate of a file ends, in Unix time."""
        written = path.stat().st_mtime_ns
        if self._known.get(path, (0, 0.0))[0] != written:
            found = x509.load_pem_x509_certificates(path.read_bytes())
            end = min(one.not_valid_after_utc.timestamp() for one in found)
            self._known[path] = written, end
        return self._known[path][1]
