"""The deployment file, and the credentials beside it."""

from __future__ import annotations

from pathlib import Path

from libmpc.client.connection import Connection
from libmpc.credentials import Credential
from libmpc.deployment_init import DEPLOYMENT_FILE
from libmpc.doctor.deployment import check_deployment
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError


def check_files(findings: Findings, path: Path) -> Connection | None:
    """Read what a client command would read; ``None`` where it could not go on."""
    if path.is_dir():
        path = path / DEPLOYMENT_FILE
    deployment = check_deployment(findings, path)
    if deployment is None:
        return None
    try:
        credential = Credential.beside(path, deployment)
    except ConfigError as error:
        hint = "put the credential file that belongs to this deployment file beside it"
        findings.fail("credentials", str(error), hint)
        return None
    if credential is None or credential.token is None:
        findings.fail(
            "credentials",
            f"there is no token beside {path}",
            "ask the gateway's operator for a credential file ('libmpc token create') and put it"
            f" there as {deployment.credentials or 'credentials.yaml'}",
        )
        return None
    owner = "an owner's key and a token" if credential.owner_key is not None else "a token"
    findings.ok("credentials", f"{owner}; nobody else can read the file")
    try:
        return Connection.open(path)
    except ConfigError as error:
        findings.fail("credentials", str(error), "correct the file that it names")
        return None
