"""Checks of a service on its own machine, for ``libmpc doctor --config``; nothing is changed."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import ssl
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from libmpc.clock import Clock
from libmpc.deployment import Deployment
from libmpc.doctor.findings import Findings
from libmpc.doctor.network import check_expiry, names, presented, reach
from libmpc.errors import ConfigError
from libmpc.identity.tls import TLS_CERTIFICATE, TLS_KEY
from services.common.listen import listen
from services.common.settings import ServiceSettings
from services.common.tls import TlsFiles

MIB = 1 << 20
FAIL_FREE, WARN_FREE = 64 * MIB, 1024 * MIB
_SECONDS = 3.0


@dataclass(frozen=True)
class Checkup:
    """What all checks of one service need.

    Attributes:
        service: as its health port says it: ``libmpc party``, ``libmpc gateway``.
        deployment: of the file that the settings name.
    """

    findings: Findings
    service: str
    settings: ServiceSettings
    deployment: Deployment
    clock: Clock

    def keys(self) -> None:
        """Nobody else may enter the folder; each key's own check is its service's."""
        folder = self.settings.keys
        if folder.is_dir() and stat.S_IMODE(folder.stat().st_mode) & 0o077:
            hint = f"run: chmod 700 '{folder}'"
            self.findings.warn("keys", f"others can enter {folder}", hint)

    def data(self) -> None:
        """The data directory can be written to, and has room."""
        folder = self.settings.data
        if not folder.is_dir():
            parent = next(p for p in folder.parents if p.is_dir())
            text = f"{folder} is not there yet; the service makes it in {parent}"
            self.findings.ok("data", text)
            folder = parent
        try:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"libmpc doctor")
                file.flush()
        except OSError as error:
            hint = "give it to the user that the service runs as, or mount it for writing"
            self.findings.fail("data", f"{folder} cannot be written: {error.strerror}", hint)
            return
        free = shutil.disk_usage(folder).free
        text, hint = f"{folder} can be written; {free // MIB:,} MiB free", "make room on its disk"
        if free < FAIL_FREE:
            self.findings.fail("data", text, hint)
        elif free < WARN_FREE:
            self.findings.warn("data", text, hint)
        else:
            self.findings.ok("data", text)

    def certificate(self, url: str) -> bool:
        """Its own certificate: with its key, from an authority that all know, for its own URL."""
        with self.tls() as tls:
            try:
                tls.check()
            except ConfigError as error:
                hint = "restore it from a backup, or issue another: libmpc keys certificate --dir"
                self.findings.fail("certificate", str(error), hint)
                return False
        found = x509.load_pem_x509_certificate(tls.certificate.read_bytes())
        authorities = x509.load_pem_x509_certificates(self.deployment.tls_ca.encode())
        if not any(_issued(found, authority) for authority in authorities):
            self.findings.fail(
                "certificate",
                "no authority in the deployment file has issued it, so nobody else accepts it",
                "add this organisation's ca.crt to tls_ca and hand the file out, or issue another"
                " certificate: libmpc keys certificate --dir",
            )
            return False
        host = urlsplit(url).hostname or ""
        if host not in names(found):
            text = f"it is for {', '.join(names(found))}, and others reach this service as {host}"
            hint = f"issue another one for {host}, or correct the URL in the deployment file"
            self.findings.fail("certificate", text, hint)
            return False
        check_expiry(self.findings, "certificate", found, self.clock)
        return True

    @contextmanager
    def tls(self) -> Iterator[TlsFiles]:
        """This service's TLS files, with the authorities in a temporary one."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(self.deployment.tls_ca)
            file.flush()
            keys = self.settings.keys
            yield TlsFiles(keys / TLS_CERTIFICATE, keys / TLS_KEY, Path(file.name))

    def ports(self) -> None:
        """Both ports are free, or this service has them."""
        settings, findings = self.settings, self.findings
        ours = self._shows_our_certificate()
        if (found := self._health()) is not None:
            findings.ok("health port", f"{found}, on port {settings.health_port}")
        else:
            self._free("health port", settings.health_host, settings.health_port)
        if ours:
            findings.ok("port", f"this service listens on port {settings.port}")
        elif found is None:
            self._free("port", settings.host, settings.port)
        else:
            text = f"it runs, and does not listen on port {settings.port} with this certificate"
            hint = "wait while it compiles its kernels; after a new certificate send it SIGHUP"
            findings.warn("port", text, hint)

    def _shows_our_certificate(self) -> bool:
        """Whether what listens on the port has this service's own certificate."""
        shown = presented(_here(self.settings.host), self.settings.port)
        path = self.settings.keys / TLS_CERTIFICATE
        with contextlib.suppress(OSError, ValueError):
            return shown == x509.load_pem_x509_certificate(path.read_bytes())
        return False

    def _free(self, check: str, host: str, port: int) -> None:
        try:
            listen(host, port).close()
        except ConfigError as error:
            hint = f"find out who has it (ss -ltnp 'sport = :{port}'), or set another port"
            self.findings.fail(check, str(error), hint)
        else:
            self.findings.ok(check, f"port {port} is free")

    def _health(self) -> str | None:
        """What the service says of itself, if it is it that has the health port."""
        settings = self.settings
        live = _ask(settings.health_host, settings.health_port, "/health/live")
        if live is None or live.get("service") != self.service:
            return None
        ready = _ask(settings.health_host, settings.health_port, "/health/ready") or {}
        if ready.get("ready") is True:
            return f"{self.service} {live.get('version')} runs and is ready"
        reason = str(ready.get("reason", "it does not say why"))[:300]
        hint = "the checks of what it talks to say more, and so does its log"
        self.findings.fail("readiness", f"it runs and is not ready: {reason}", hint)
        return f"{self.service} {live.get('version')} runs"

    def peer(self, who: str, url: str) -> bool:
        """Whether another service can be reached with this one's certificate."""
        keys = self.settings.keys
        own = (keys / TLS_CERTIFICATE, keys / TLS_KEY)
        return reach(self.findings, who, url, self.deployment.tls_ca, self.clock, own) is not None


def _issued(found: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        found.verify_directly_issued_by(authority)
    except Exception:  # noqa: BLE001 - a wrong name, key type or signature: not by this one
        return False
    return True


def _ask(host: str, port: int, path: str) -> dict[str, object] | None:
    connection = http.client.HTTPConnection(_here(host), port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        found = json.loads(connection.getresponse().read(1 << 16))
    except (OSError, ValueError, http.client.HTTPException, ssl.SSLError):
        return None
    finally:
        connection.close()
    return found if isinstance(found, dict) else None


def _here(host: str) -> str:
    """Where a service that listens on ``host`` is reached from its own machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
