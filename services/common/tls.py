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
        """Try the files before a server or client does: granian ends the process over bad ones.

        Raises:
            ConfigError: one is missing, empty or unusable; names it.
        """
        for what, path in (("certificate", self.certificate), ("key", self.key), ("CA", self.ca)):
            # SECURITY: an empty CA file must never turn into "trust anybody".
            if not path.is_file() or not path.stat().st_size:
                raise ConfigError(f"TLS {what} file {path} is missing or empty")
        if b"-----BEGIN PRIVATE KEY-----" not in self.key.read_bytes():
            raise ConfigError(f"TLS key file {self.key} is no unencrypted PKCS #8 key in PEM")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
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
