"""Where a service's TLS files are."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from libmpc.errors import ConfigError


@dataclass(frozen=True)
class TlsFiles:
    """One service's certificate and whom it trusts, all PEM.

    Attributes:
        certificate: the leaf, then any intermediates.
        key: the leaf's private key (PKCS #8).
        ca: the roots that the other side's certificate must lead to: the deployment's bundle.
    """

    certificate: Path
    key: Path
    ca: Path

    def check(self) -> None:
        """Try the files before a server or client does.

        Raises:
            ConfigError: one is missing, empty or unusable; names it.
        """
        for what, path in (("certificate", self.certificate), ("key", self.key), ("CA", self.ca)):
            # SECURITY: an empty CA file must never turn into "trust anybody".
            if not path.is_file() or not path.stat().st_size:
                raise ConfigError(f"TLS {what} file {path} is missing or empty")
        if b"-----BEGIN PRIVATE KEY-----" not in self.key.read_bytes():
            raise ConfigError(f"TLS key file {self.key} is no unencrypted PKCS #8 key in PEM")
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def server_context(self) -> ssl.SSLContext:
        """For HTTP/2 between services: TLS 1.3, and only clients that show a certificate.

        Raises:
            ConfigError: as ``check``.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # SECURITY: mutual TLS, so that strangers do not get as far as the handshake.
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # nobody resumes
        return self._for_services(context)

    def client_context(self) -> ssl.SSLContext:
        """The other side of ``server_context``; checks the server's name.

        Raises:
            ConfigError: as ``check``.
        """
        return self._for_services(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _for_services(self, context: ssl.SSLContext) -> ssl.SSLContext:
        self.check()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_verify_locations(self.ca)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(f"TLS CA file {self.ca} cannot be used: {error}") from None
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError(
                f"TLS certificate {self.certificate} and key {self.key} do not make a pair: {error}"
            ) from None
