"""One model: whether it answers, who describes it, what is left of its limits; and one query."""

from __future__ import annotations

import math
import warnings

import numpy as np

from libmpc.client.card import ModelSummary, verify_card
from libmpc.client.status import Status
from libmpc.client.sync import Client
from libmpc.doctor.findings import Findings
from libmpc.doctor.gateway import Gateway
from libmpc.errors import IntegrityError, LibmpcError, ModelNotFoundError
from libmpc.wire.descriptor import Descriptor

SLOW_SECONDS = 1.0


def check_models(findings: Findings, status: Status) -> None:
    """What there is, where no model was asked for."""
    serving = [one.name for one in status.models if one.state == "serving"]
    if serving:
        findings.ok("models", f"served: {', '.join(serving)}")
        return
    others = [f"{one.name} ({one.state})" for one in status.models]
    text = f"none is served; stored: {', '.join(others)}" if others else "none that you may see"
    hint = "an owner shares one ('libmpc push') and serves it ('libmpc serve')"
    findings.warn("models", text, hint)


def check_model(findings: Findings, gateway: Gateway, name: str, status: Status | None) -> bool:
    """One model; whether a query of it can be answered."""
    what = f"model {name}"
    try:
        response = gateway.get(f"/v2/models/{name}")
    except ModelNotFoundError:
        known = ", ".join(one.name for one in status.models) if status is not None else ""
        hint = f"models that this token may see: {known or 'none'}"
        findings.fail(what, "there is none of that name, or not for this token", hint)
        return False
    except LibmpcError as error:
        findings.fail(what, str(error), "see above; it comes back when all parties are ready")
        return False
    deployment = gateway.connection.deployment
    try:
        card = verify_card(deployment, name, response.body, gateway.clock.now())
    except IntegrityError as error:
        hint = "do not query: compare the fingerprint of the deployment file with the parties'"
        findings.fail(f"{what}: descriptor", str(error), hint)
        return False
    _describe(findings, what, card.descriptor)
    known_as = [one for one in (status.models if status else ()) if one.name == name]
    if card.state != "serving":
        hint = f"its owner serves it: libmpc serve {name}"
        findings.fail(what, f"it is {card.state}", hint)
        return False
    return _check_limit(findings, what, known_as[0] if known_as else None)


def _describe(findings: Findings, what: str, descriptor: Descriptor) -> None:
    low, high = descriptor.input_range
    text = (
        f"signed by both evaluators; inputs {descriptor.input_shape} in {low:g} to {high:g},"
        f" range {descriptor.range_status}"
    )
    if descriptor.range_status == "proven":
        findings.ok(f"{what}: descriptor", text)
    else:
        hint = "an input unlike all samples could be answered wrongly; its owner may prove it"
        findings.warn(f"{what}: descriptor", text, hint)


def _check_limit(findings: Findings, what: str, found: ModelSummary | None) -> bool:
    if found is None or found.num_requests is None:
        findings.ok(what, "serving, without a limit of requests")
        return True
    left = found.num_requests - found.served
    if left <= 0:
        hint = f"its owner begins the count anew: libmpc serve {found.name} --num-requests K"
        findings.fail(what, f"all {found.num_requests:,} requests are used up", hint)
        return False
    findings.ok(what, f"serving; {left:,} of {found.num_requests:,} requests left")
    return True


def check_query(findings: Findings, client: Client, name: str, gateway: Gateway) -> None:
    """Ask one real query, with zeros (or the range's end next to them)."""
    check = f"model {name}: query"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said already
            descriptor = client.describe(name)
            low, high = descriptor.input_range
            value = min(max(0.0, low), high)
            x = np.full((1, *descriptor.input_shape), value)
            began = gateway.clock.monotonic()
            found = client.query(name, x)
    except LibmpcError as error:
        hint = "see above, docs/troubleshooting.md for this message, and the services' logs"
        findings.fail(check, str(error), hint)
        return
    seconds = gateway.clock.monotonic() - began
    shape = "×".join(map(str, np.shape(found)))
    text = f"answered and verified in {1e3 * seconds:.0f} ms ({shape}); it counts as a request"
    if math.isfinite(seconds) and seconds > SLOW_SECONDS:
        hint = (
            "'libmpc explain MODEL --network' says what to expect: parties far apart, an empty"
            " pool ('libmpc status') or a busy machine are usual reasons"
        )
        findings.warn(check, text, hint)
    else:
        findings.ok(check, text)
