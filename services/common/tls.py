"""Where a service's TLS files are."""

from __future__ import annotations

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
        """See that the files are there before a server or client stumbles over them.

        Raises:
            ConfigError: one is missing or empty; names it.
        """
        for what, path in (("certificate", self.certificate), ("key", self.key), ("CA", self.ca)):
            # SECURITY: an empty CA file must never turn into "trust anybody".
            if not path.is_file() or not path.stat().st_size:
                raise ConfigError(f"TLS {what} file {path} is missing or empty")
