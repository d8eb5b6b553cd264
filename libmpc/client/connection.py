"""Which deployment a client talks to, whom it trusts there, and what it shows to be let in."""

from __future__ import annotations

import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_init import DEPLOYMENT_FILE
from libmpc.errors import ConfigError
from libmpc.identity.signing import SigningKey

VARIABLE = "LIBMPC_DEPLOYMENT"

DeploymentLike = Deployment | str | os.PathLike[str]


@dataclass(frozen=True)
class Connection:
    """A deployment file that was read and checked, with the secrets beside it.

    Attributes:
        deployment: the file's content.
        path: the file, or ``None`` where a ``Deployment`` was given.
        owner: the owner's signing key, if the credential file has one.
        token: what the gateway asks for.
    """

    deployment: Deployment = field(repr=False)
    path: Path | None = None
    owner: SigningKey | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    @classmethod
    def open(cls, deployment: DeploymentLike | None = None, token: str | None = None) -> Self:
        """Read a deployment file, or its directory's, and the credential file that it names.

        Args:
            deployment: a path, a ``Deployment``, or ``None`` for the environment variable
                ``LIBMPC_DEPLOYMENT``. A ``Deployment`` has no credential file: give the token.
            token: used instead of the credential file's.

        Raises:
            ConfigError: nothing was given, or a file is missing, not valid or open to others.
        """
        if isinstance(deployment, Deployment):
            return cls(deployment, None, None, _checked(deployment, token))
        if deployment is None and not (deployment := os.environ.get(VARIABLE)):
            raise ConfigError(
                "no deployment was given: pass the path of a deployment.yaml, or set the "
                f"environment variable {VARIABLE} to it"
            )
        path = Path(deployment)
        if path.is_dir():
            path = path / DEPLOYMENT_FILE
        found = Deployment.from_file(path)
        credential = Credential.beside(path, found)
        owner = None
        if credential is not None:
            owner = credential.signing_key
            if token is None and credential.token is not None:
                token = credential.token.get_secret_value()
        return cls(found, path, owner, _checked(found, token))

    @property
    def urls(self) -> tuple[str, ...]:
        """The gateways, in the order in which they are tried."""
        return tuple(gateway.url.rstrip("/") for gateway in self.deployment.gateways)

    @property
    def is_local(self) -> bool:
        """Whether every gateway is on this machine, where no proxy is wanted."""
        return all(_is_loopback(url) for url in self.urls)

    def ssl_context(self) -> ssl.SSLContext:
        """Trusts the deployment's own authorities and nobody else, whatever the machine trusts."""
        context = ssl.create_default_context(cadata=self.deployment.tls_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context


def _checked(deployment: Deployment, token: str | None) -> str | None:
    if token is None:
        return None
    if not (token.isascii() and token.isprintable() and token and " " not in token):
        raise ConfigError("the token is not one that a gateway gives; copy it again")
    for gateway in deployment.gateways:
        # SECURITY: whoever reads along could use the token from then on.
        if urlsplit(gateway.url).scheme != "https" and not _is_loopback(gateway.url):
            raise ConfigError(
                f"the gateway's URL {gateway.url} is not https, so the token would be sent in the "
                "clear; correct the deployment file"
            )
    return token


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
