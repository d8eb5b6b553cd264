"""The deployment file: that it can be read, and only be changed by whoever it belongs to."""

from __future__ import annotations

import stat
from pathlib import Path

from libmpc.deployment import Deployment
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError

_GET = "get the current deployment file from whoever runs the gateway"


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
