"""The deployment file, and the credentials beside it."""

from __future__ import annotations

import stat
from pathlib import Path

from libmpc.client.connection import Connection
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_init import DEPLOYMENT_FILE
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError

_GET = "get the current deployment file from whoever runs the gateway"


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


def check_deployment(findings: Findings, path: Path) -> Deployment | None:
    """Read a deployment file and show its fingerprint."""
    try:
        deployment = Deployment.from_file(path)
    except ConfigError as error:
        findings.fail("deployment file", str(error), _GET)
        return None
    shown = f"{deployment.name!r}, fingerprint {deployment.fingerprint}"
    if stat.S_IMODE(path.stat().st_mode) & 0o022:
        # SECURITY: it pins the parties' keys; who can change it can take a party's place.
        findings.warn(
            "deployment file",
            f"{shown}; others on this machine can change it, and so whom you trust",
            f"run: chmod go-w '{path}', then compare the fingerprint with the parties'",
        )
    else:
        findings.ok("deployment file", shown)
    return deployment
