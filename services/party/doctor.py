"""``libmpc doctor --config party.yaml``: one party, on its own machine."""

from __future__ import annotations

from pathlib import Path

import httpx

from libmpc.clock import Clock, SystemClock
from libmpc.doctor.deployment import check_deployment
from libmpc.doctor.findings import Findings
from libmpc.errors import ConfigError
from libmpc.identity.keys import PartyIdentity
from libmpc.identity.storage_keys import used_key_ids
from services.common.doctor import Checkup
from services.party.settings import PartySettings

_SKEW = 5.0
_SECONDS = 5.0


def check(findings: Findings, config: Path, clock: Clock | None = None) -> None:
    """Check settings, files, ports and peers; as far as one can get."""
    try:
        settings = PartySettings.from_file(config)
    except ConfigError as error:
        findings.fail("settings", str(error), "correct the field that it names")
        return
    findings.ok("settings", f"party {settings.index}, triple {settings.triple}")
    deployment = check_deployment(findings, settings.deployment)
    if deployment is None:
        return
    checkup = Checkup(findings, "libmpc party", settings, deployment, clock or SystemClock())
    checkup.keys()
    try:
        identity = PartyIdentity.load(settings.keys)
        deployment.check_party(settings.index, identity.static_public, identity.signing.public)
    except ConfigError as error:
        hint = "keys cannot be made again: restore them, or get the file made from this party's"
        findings.fail("keys", str(error), hint)
    else:
        findings.ok("keys", f"those that the deployment file names for party {settings.index}")
    _check_storage_key(findings, settings)
    checkup.data()
    own = deployment.parties[settings.index]
    if settings.triple >= len(own.urls):
        text = f"this is triple {settings.triple}, and the deployment file has {len(own.urls)}"
        findings.fail("deployment file", text, "add its three URLs (more_urls), or mend 'triple'")
        return
    usable = checkup.certificate(own.urls[settings.triple])
    checkup.ports()
    if usable:
        for party in deployment.parties:
            if party.index != settings.index:
                _check_peer(checkup, party.index, party.urls[settings.triple])


def _check_storage_key(findings: Findings, settings: PartySettings) -> None:
    try:
        keys = settings.load_storage_keys()
        for key_id in used_key_ids(settings.data):
            keys.find(key_id)
    except ConfigError as error:
        hint = "restore it from a backup: without it no stored share can be read"
        findings.fail("storage key", str(error), hint)
        return
    findings.ok("storage key", "here, and good for all that is stored")


def _check_peer(checkup: Checkup, index: int, url: str) -> None:
    """Reach a peer and ask who it is.

    SECURITY: by a plain request under TLS, not by a link: a new handshake with a peer ends the
    epoch, and with it every query under way. Who has the peer's long-term key shows in its links.
    """
    findings, who = checkup.findings, f"party {index}"
    if not checkup.peer(who, url):
        return
    try:
        with checkup.tls() as tls:
            context = tls.client_context()
        with httpx.Client(http1=False, http2=True, verify=context, timeout=_SECONDS) as client:
            found = client.get(f"{url.rstrip('/')}/v1/status").json()
    except (httpx.HTTPError, ValueError, ConfigError) as error:
        text = f"it does not answer as a party does ({type(error).__name__})"
        findings.fail(who, text, "is the URL a party's, with nothing but TCP in between?")
        return
    if not isinstance(found, dict) or found.get("party") != index:
        text = f"at {url} is party {str(found.get('party'))[:9]}" if isinstance(found, dict) else ""
        findings.fail(who, text or "it is no party", "correct the URLs in the deployment file")
        return
    clock_ms = found.get("clock_ms")
    if isinstance(clock_ms, int) and abs(clock_ms / 1000 - checkup.clock.now()) >= _SKEW:
        ahead = clock_ms / 1000 - checkup.clock.now()
        text = f"its clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this one"
        findings.warn(f"clock of {who}", text, "set the one that is wrong, with NTP")
    if found.get("ready") is True:
        findings.ok(who, f"version {str(found.get('version'))[:32]}, ready")
    else:
        reason = str(found.get("reason"))[:300]
        findings.warn(who, f"it answers and is not ready: {reason}", "see the checks there")
