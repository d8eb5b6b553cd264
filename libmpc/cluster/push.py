"""A push: a model's weights in three shares, a signed manifest, and one envelope for each party."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from libmpc.cluster.policy import Policy
from libmpc.errors import IntegrityError, ModelError
from libmpc.graph.model import Model
from libmpc.graph.ranges.outputs import check_output
from libmpc.graph.tail import with_output
from libmpc.identity.signing import SigningKey
from libmpc.outputs import parse
from libmpc.protocol.weights import WeightShares, payload_bytes, share_weights
from libmpc.sealing.errors import SealError
from libmpc.sealing.seal import seal
from libmpc.shares import new_seed
from libmpc.wire.context import sha256
from libmpc.wire.document import describe
from libmpc.wire.envelope import MAX_SHARE_BYTES, VALUE_BYTES, PushPlaintext
from libmpc.wire.final import spell_final
from libmpc.wire.headers import PushHeader, push_info
from libmpc.wire.keys import PartyKey
from libmpc.wire.lifetime import to_millis
from libmpc.wire.manifest import Manifest, model_digest
from libmpc.wire.signed import Signed

LIFETIME_MS = 30 * 60_000


@dataclass(frozen=True)
class Push:
    """Shares and manifest of one push; they may be sealed and sent more than once.

    Attributes:
        model: the manifest's digest (hex), by which everybody names the model from now on.
    """

    model: str
    manifest: Signed = field(repr=False)
    shares: WeightShares = field(repr=False)


def make_push(
    model: Model, name: str, deployment: bytes, owner: SigningKey, policy: Policy, now: float
) -> Push:
    """Share a model's weights under fresh seeds and sign what they are.

    Args:
        deployment: the deployment's id.
        now: Unix seconds; the push can be committed for half an hour.

    Raises:
        ModelError: the model does not fit into a manifest, or a share into a message, or cannot
            answer as the policy says.
        InputError: the policy's output is no output kind.
    """
    size = max(payload_bytes(model.plan, party) for party in (0, 1))
    if size > MAX_SHARE_BYTES:
        raise ModelError(
            f"the model is too large to be shared: {size} bytes for a party, at most "
            f"{MAX_SHARE_BYTES} (about {MAX_SHARE_BYTES // VALUE_BYTES} weights)"
        )
    kind = parse(policy.output)
    with_output(model.plan, kind)
    check_output(model.plan, model.range, kind)
    # SECURITY: two pushes under one seed would differ by exactly the difference of their weights.
    shares = share_weights(model.plan, model.weights, new_seed(), new_seed())
    try:
        manifest = _manifest(model, name, deployment, owner, policy, shares, to_millis(now))
    except ValidationError as error:
        raise ModelError(f"the model cannot be shared as it is: {describe(error)}") from None
    signed = owner.sign_document(manifest)
    return Push(model_digest(signed.document).hex(), signed, shares)


def _manifest(
    model: Model,
    name: str,
    deployment: bytes,
    owner: SigningKey,
    policy: Policy,
    shares: WeightShares,
    issued: int,
) -> Manifest:
    proven = model.range.status == "proven"
    return Manifest(
        deployment=deployment.hex(),
        name=name,
        plan=model.plan.to_json().decode(),
        share_hashes=(sha256(shares[0]).hex(), sha256(shares[1]).hex(), sha256(shares[2]).hex()),
        owner=owner.public.hex(),
        input_range=model.input_range,
        range_status=model.range.status,
        range_margin=None if proven else rounded(model.range.margin),
        final_activation=spell_final(model.final_activation, model.final_axis),
        serve=policy.serve,
        num_requests=policy.num_requests,
        replace=policy.replace,
        output=policy.output,
        issued_ms=issued,
        expires_ms=issued + LIFETIME_MS,
    )


def rounded(margin: float) -> float:
    """The power of two below a margin.

    SECURITY: the margin is the one public number that depends on weights; this is all it tells.
    """
    return 2.0 ** math.floor(math.log2(min(max(margin, 1.0), 2.0**47)))


def seal_push(
    push: Push, deployment: bytes, keys: Sequence[PartyKey], now: float
) -> tuple[bytes, ...]:
    """The body of a push request, in pieces, newly sealed.

    u32 length | PushHeader, then for each party u32 length | envelope.

    Raises:
        IntegrityError: a key cannot be sealed to.
    """
    expires = to_millis(now) + LIFETIME_MS
    header = PushHeader(
        model=push.model,
        number=secrets.token_hex(16),
        expires_ms=min(expires, *(key.not_after_ms for key in keys)),
        key_ids=(keys[0].key_id, keys[1].key_id, keys[2].key_id),
    )
    head = header.encode()
    parts = [len(head).to_bytes(4, "big") + head]
    for party, key in enumerate(keys):
        plain = PushPlaintext(push.manifest, push.shares[party]).encode()
        info = push_info(deployment, header, party)
        try:
            envelope = seal(bytes.fromhex(key.public_key), info, plain)
        except SealError as error:
            raise IntegrityError(f"party {party}'s key cannot be used: {error}") from None
        parts += (len(envelope).to_bytes(4, "big"), envelope)
    return tuple(parts)
