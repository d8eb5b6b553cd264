"""What a gateway answers: which it is, who is let in, whose clock is right, and how parties are."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from libmpc._version import __version__
from libmpc.client.card import verify_keys
from libmpc.client.connection import Connection
from libmpc.client.gateways import WIRE_MAJOR
from libmpc.client.http import Operation, Request, Response, check
from libmpc.client.runner import PausingClock, Runner
from libmpc.client.status import PartyState, Status, TokenLimits, parse_status
from libmpc.doctor.findings import Findings
from libmpc.errors import (
    AuthenticationError,
    IntegrityError,
    LibmpcError,
    ModelNotFoundError,
    ServiceError,
)
from libmpc.wire.lifetime import MAX_SKEW_MS

WARN_SECONDS = 5.0
FAIL_SECONDS = MAX_SKEW_MS / 1000
EXPIRES_SOON = 7 * 86_400
_LOGS = "look at its log: it says why"


class Gateway:
    """One gateway, asked without retries, each answer by itself.

    Args:
        connection: of the deployment file.
        url: the gateway's.
        timeout: seconds for an answer.
    """

    def __init__(
        self, connection: Connection, url: str, runner: Runner, clock: PausingClock, timeout: float
    ) -> None:
        self.connection = connection
        self.url = url
        self.clock = clock
        self._runner = runner
        self._timeout = timeout

    def get(self, path: str) -> Response:
        """What it answers to a GET.

        Raises:
            LibmpcError: no success.
        """
        return check(self.url, self.look(path))

    def look(self, path: str) -> Response:
        """As ``get``, whatever the status."""

        def operation() -> Operation[Response]:
            response = yield Request("GET", self.url, path, timeout=self._timeout)
            assert response is not None
            return response

        return self._runner.run(operation())


def check_gateway(findings: Findings, gateway: Gateway, way: float) -> bool:
    """Whether it is alive, this deployment's, and lets the token in.

    Args:
        way: seconds that a connection took, against which its answer is held.
    """
    began = gateway.clock.monotonic()
    try:
        gateway.get("/v2/health/live")
    except LibmpcError as error:
        findings.fail("gateway: answer", str(error), _LOGS)
        return False
    seconds = gateway.clock.monotonic() - began
    # A new connection: one round trip for TCP, one for TLS, one for the answer.
    if seconds > 10 * way + 1.0:
        hint = "it is overloaded, or starved of its processor: see its queue with 'libmpc status'"
        findings.warn("gateway: answer", f"alive, but it took {seconds:.1f} s to say so", hint)
    else:
        findings.ok("gateway: answer", f"alive; it took {1e3 * seconds:.0f} ms to say so")
    return _check_token(findings, gateway) and _check_identity(findings, gateway)


def _check_token(findings: Findings, gateway: Gateway) -> bool:
    try:
        gateway.get("/v2")
    except AuthenticationError as error:
        said = "it has expired" if "has expired" in str(error) else "it is wrong or was revoked"
        hint = "ask the gateway's operator for another one ('libmpc token create')"
        findings.fail("token", f"the gateway does not let it in: {said}", hint)
        return False
    except LibmpcError as error:
        findings.fail("token", str(error), _LOGS)
        return False
    return True


def _check_identity(findings: Findings, gateway: Gateway) -> bool:
    deployment = gateway.connection.deployment
    try:
        found = gateway.get("/v2").json()
    except LibmpcError as error:
        findings.fail("gateway: version", str(error), _LOGS)
        return False
    if found.get("name") != "libmpc" or found.get("deployment") != deployment.id.hex():
        findings.fail(
            "gateway: deployment",
            f"what answers at {gateway.url} serves another deployment, or is no libmpc gateway",
            "get the current deployment file from whoever runs it, and compare fingerprints",
        )
        return False
    wire = str(found.get("wire"))
    version = "".join(c for c in str(found.get("version"))[:32] if c.isprintable())
    if wire.partition(".")[0] != WIRE_MAJOR:
        text = f"{version} speaks wire version {wire[:9]!r}, this client {WIRE_MAJOR}"
        findings.fail("gateway: version", text, "update libmpc here or there")
        return False
    _check_version(findings, "gateway: version", version)
    return True


def _check_version(findings: Findings, what: str, version: str) -> None:
    ours, theirs = __version__.split(".")[:2], version.split(".")[:2]
    near = ours[:1] == theirs[:1] and all(part.isdigit() for part in (*ours, *theirs))
    if ours == theirs:
        findings.ok(what, version)
    elif near and abs(int(ours[-1]) - int(theirs[-1])) <= 1:
        findings.ok(what, f"{version}, a neighbour of this client's {__version__}")
    else:
        hint = "only neighbouring minor versions are tested together: update the older side"
        findings.warn(what, f"{version}, while this client is {__version__}", hint)


def check_deployment(findings: Findings, gateway: Gateway) -> Status | None:
    """Whether it is ready, and its clock and every party with it."""
    before = gateway.clock.now()
    try:
        found = parse_status(gateway.get("/v2/status").body)
    except ModelNotFoundError:
        _check_ready(findings, gateway)
        return None
    except LibmpcError as error:
        findings.fail("status", str(error), _LOGS)
        return None
    moment = (before + gateway.clock.now()) / 2
    _token(findings, found.token, moment)
    _check_clock(findings, "the gateway", found.gateway.clock - moment)
    for triple in found.triples:
        of = f" of triple {triple.triple}" if len(found.triples) > 1 else ""
        # Those that are down first: they are why others are not ready.
        for party in sorted(triple.parties, key=lambda party: party.up):
            _check_party(findings, f"party {party.party}{of}", party, found.gateway.clock)
        if not triple.ready and all(party.ready for party in triple.parties):
            findings.warn(f"triple {triple.triple}", triple.reason, "wait a moment; see their logs")
    if found.ready:
        findings.ok("readiness", "queries can be answered")
    else:
        hint = "queries fail with 503 until what is named above is mended"
        findings.fail("readiness", found.reason, hint)
    return found


def _check_ready(findings: Findings, gateway: Gateway) -> None:
    findings.warn(
        "status", "this gateway is too old to tell of parties one by one", "update the gateway"
    )
    response = gateway.look("/v2/health/ready")
    if response.status == 200:
        findings.ok("readiness", "queries can be answered")
        return
    with findings.failing("readiness", _LOGS):
        check(gateway.url, response)


def _token(findings: Findings, token: TokenLimits, now: float) -> None:
    limits = [
        f"{number:,} {what}"
        for number, what in (
            (token.images_per_minute, "images a minute"),
            (token.requests_per_minute, "requests a minute"),
        )
        if number is not None
    ]
    if token.models is not None:
        limits.append(f"only {', '.join(token.models)}")
    text = f"role {token.role}" + "".join(f", {limit}" for limit in limits)
    spent = [name for name, used in token.used.items() if token.images and used >= token.images]
    if token.images is not None:
        left = [f"{token.images - used:,} of {name}" for name, used in token.used.items()]
        text += f", {token.images:,} images of each model (left: {', '.join(left) or 'all'})"
    hint = "ask the gateway's operator for another one ('libmpc token create')"
    if spent:
        findings.fail("token", f"{text}: used up for {', '.join(spent)}", hint)
    elif token.expires is not None and token.expires - now < EXPIRES_SOON:
        findings.warn("token", f"{text}; it expires {_date(token.expires)}", hint)
    else:
        ends = "" if token.expires is None else f"; it expires {_date(token.expires)}"
        findings.ok("token", text + ends)


def _date(seconds: float) -> str:
    try:
        return f"on {datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, OSError, ValueError):
        return "never"


def _check_clock(findings: Findings, whose: str, ahead: float) -> None:
    """Envelopes and keys count for minutes, on everybody's clock."""
    check_name = f"clock of {whose}"
    if abs(ahead) < WARN_SECONDS:
        findings.ok(check_name, "agrees with this one")
        return
    text = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} this one"
    hint = "set the clock that is wrong, with NTP: envelopes and keys count for minutes only"
    (findings.fail if abs(ahead) >= FAIL_SECONDS else findings.warn)(check_name, text, hint)


def _check_party(findings: Findings, name: str, party: PartyState, clock: float) -> None:
    if not party.up:
        hint = "its operator sees why: start it, or run 'libmpc doctor --config party.yaml' there"
        findings.fail(name, "the gateway has no link to it", hint)
        return
    if not party.ready:
        findings.fail(name, f"not ready: {party.reason}", "see the other parties, and its log")
    else:
        findings.ok(name, f"ready, in epoch {party.epoch}")
    if party.version is not None:
        _check_version(findings, f"{name}: version", party.version)
    if party.clock is not None and abs(party.clock - clock) >= WARN_SECONDS:
        ahead = party.clock - clock
        text = f"{abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the gateway's"
        hint = "set the clock that is wrong, with NTP: envelopes and keys count for minutes only"
        (findings.fail if abs(ahead) >= FAIL_SECONDS else findings.warn)(
            f"clock of {name}", text, hint
        )


def check_keys(findings: Findings, gateway: Gateway) -> None:
    """Whether the parties' short-lived keys are signed by the keys that the file pins."""
    deployment = gateway.connection.deployment
    try:
        document = gateway.get("/v2/keys").json()
    except ServiceError as error:
        if not isinstance(error, IntegrityError):
            findings.fail("parties' keys", str(error), "a party is down: see above")
            return
        document = {}
    sets = [document.get("keys"), *_more(document.get("more"))]
    try:
        for value in sets:
            keys = verify_keys(deployment, value, gateway.clock.now())
    except IntegrityError as error:
        hint = (
            "do not send anything: either a clock is wrong (see above), or the gateway hands out"
            " keys that are not the parties'. Compare fingerprints with the parties' operators"
        )
        findings.fail("parties' keys", str(error), hint)
        return
    left = min(key.not_after_ms / 1000 for key in keys) - gateway.clock.now()
    text = f"signed by the keys that the file pins; good for {left / 60:.0f} minutes"
    findings.ok("parties' keys", text)


def _more(value: object) -> Sequence[object]:
    """Further triples' key sets, where the gateway has more than one."""
    items = value if isinstance(value, list) else []
    return [item.get("keys", item) if isinstance(item, dict) else item for item in items]
