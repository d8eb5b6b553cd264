"""A stored model, checked and ready to be computed with."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import ValidationError

from libmpc.errors import InputError, IntegrityError, LibmpcError
from libmpc.graph.plan import Plan
from libmpc.graph.tail import check_own, with_output
from libmpc.identity.signing import SigningKey
from libmpc.outputs import LOGITS, parse
from libmpc.party.messages import Commit
from libmpc.party.store import Record
from libmpc.protocol import DealerWeights, EvaluatorWeights
from libmpc.wire.document import describe
from libmpc.wire.errors import WireError
from libmpc.wire.manifest import Manifest
from libmpc.wire.signed import Signed


@dataclass(frozen=True)
class Entry:
    """A stored model, ready to be computed with; ``variant`` names it with what it answers."""

    record: Record
    manifest: Manifest
    plan: Plan
    sharing: bytes
    weights: EvaluatorWeights | DealerWeights = field(repr=False)
    descriptor: Signed | None = field(default=None, repr=False)  # evaluators only
    variant: str = ""  # what it answers with, see ``variants``

    @property
    def first_variant(self) -> str:
        """What the owner lets it answer with; bundles for that are kept ready from the start."""
        output = parse(self.manifest.output).answer
        return self.record.model if output == LOGITS else f"{self.record.model}:{output}"

    @property
    def certificate(self) -> tuple[Signed, ...]:
        """The three receipts on which this model was committed."""
        return Commit.parse(self.record.certificate or b"").receipts


def load_entry(
    index: int, signing: SigningKey, record: Record, payload: bytes | memoryview
) -> Entry:
    """Check a share against its manifest and make its weights ready.

    Takes seconds for a large model.

    Args:
        index: this party's.
        signing: signs the descriptor, at an evaluator.

    Raises:
        IntegrityError: the share is not the one that the manifest names.
        InputError: the plan or the share cannot be used.
    """
    manifest = Manifest.parse(record.manifest)
    try:
        manifest.check_share(index, payload)
    except WireError as error:
        raise IntegrityError(f"model {record.name!r}: {error}", status=422) from None
    try:
        plan = Plan.from_json(manifest.plan.encode())
        weights: EvaluatorWeights | DealerWeights
        check_own(plan)
        with_output(plan, parse(manifest.output))
        if index == 2:
            weights = DealerWeights.from_payload(plan, payload)
        else:
            weights = EvaluatorWeights.from_payload(plan, index, payload)
    except LibmpcError as error:
        raise InputError(f"the push cannot be used: {error}") from None
    if plan.digest != manifest.plan_digest:
        raise InputError("the push cannot be used: its plan is not in canonical form")
    try:
        descriptor = manifest.descriptor(record.model, plan.input_shape, plan.output_shape)
    except ValidationError as error:
        raise InputError(f"the push cannot be used: {describe(error)}") from None
    return Entry(
        record=record,
        manifest=manifest,
        plan=plan,
        sharing=manifest.sharing_digest,
        weights=weights,
        descriptor=signing.sign_document(descriptor) if index != 2 else None,
        variant=record.model,
    )
