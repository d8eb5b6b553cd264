"""Documents, envelopes and what is inside them; control messages between parties."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from libmpc.errors import InputError, IntegrityError, ModelError
from libmpc.graph.plan import DenseStep, InputStep, OutputStep, Plan, ReluStep
from libmpc.identity.signing import SigningKey, verify_document
from libmpc.outputs import parse as parse_output
from libmpc.party import messages
from libmpc.party.epoch import EpochReport
from libmpc.party.framing import join as frame
from libmpc.party.framing import split
from libmpc.party.sync import CatalogReport
from libmpc.sealing.errors import SealError
from libmpc.sealing.open import open_sealed
from libmpc.sealing.seal import seal
from libmpc.wire import (
    Command,
    Descriptor,
    Document,
    Manifest,
    PartyKey,
    PushHeader,
    PushPlaintext,
    QueryHeader,
    QueryPlaintext,
    Receipt,
    ReplyPlaintext,
    Signed,
    WireError,
)
from libmpc.wire import Kind as ShareKind
from libmpc.wire.evaluation import Evaluation
from tests.fuzz.harness import MIB, Target, WrongError

H8, H16, H32 = "0a" * 8, "1b" * 16, "2c" * 32
OWNER = SigningKey.from_bytes(bytes(range(32)))
HPKE = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

PLAN = Plan(
    steps=(
        InputStep(shape=(4,)),
        DenseStep(source=0, inputs=4, outputs=3),
        ReluStep(source=1, shape=(3,)),
        DenseStep(source=2, inputs=3, outputs=2),
        OutputStep(source=3, shape=(2,)),
    )
)


@cache
def documents() -> dict[str, Document]:
    """One of each kind."""
    life = {"issued_ms": 1000, "expires_ms": 2000}
    shared: dict[str, Any] = {"deployment": H16, "name": "digits"}
    return {
        "command": Command(
            **shared, **life, model=H32, action="serve", num_requests=5, command_id=H16
        ),
        "descriptor": Descriptor(
            **shared,
            model=H32,
            input_shape=(28, 28, 1),
            input_range=(0.0, 1.0),
            output_shape=(10,),
            range_status="calibrated",
            range_margin=20.5,
            final_activation="softmax",
            plan_digest=H32,
        ),
        "manifest": Manifest(
            **shared,
            **life,
            plan=PLAN.to_json().decode(),
            share_hashes=(H32, H32, H32),
            owner=H32,
            input_range=(0.0, 1.0),
            range_status="proven",
            serve=True,
            num_requests=3,
        ),
        "party key": PartyKey(
            deployment=H16, party=1, key_id=H8, public_key=H32, not_before_ms=1, not_after_ms=99
        ),
        "push header": PushHeader(model=H32, number=H16, expires_ms=5, key_ids=(H8, H8, H8)),
        "query header": QueryHeader(
            model=H32, number=H16, expires_ms=5, shape=(1, 28, 28, 1), key_ids=(H8, H8)
        ),
        "receipt": Receipt(deployment=H16, party=2, model=H32),
    }


def _document(kind: type[Document]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        found = kind.parse(data)
        # All its fields were there, and none that says more.
        if json.loads(data).keys() != kind.model_fields.keys():
            raise WrongError("accepted with other fields")
        if kind.parse(found.encode()) != found:
            raise WrongError("its own encoding says something else")
        return found

    return parse


def _signed() -> Target:
    document = documents()["command"]
    signed = OWNER.sign_document(document)
    right = (signed.document, signed.signature)

    def parse(data: bytes) -> object:
        found = Signed.parse(data)
        command = verify_document(OWNER.public, Command, found)
        if (found.document, found.signature) != right:
            raise WrongError("a signature over something else was believed")
        return command

    return Target("signed document", [[signed.to_json()]], parse, (WireError, IntegrityError))


def controls() -> dict[str, messages.Control]:
    """One of each control message."""
    signed = OWNER.sign_document(documents()["receipt"])
    header = documents()["query header"]
    assert isinstance(header, QueryHeader)
    entry = messages.BatchEntry(header=header, size=9)
    piece = messages.Slice(query=H16, start=0, stop=1, tag_check=H32)
    state = messages.ModelState(
        name="digits",
        model=H32,
        state="serving",
        num_requests=None,
        served=3,
        plan_digest=H32,
        descriptor=signed,
    )
    found: list[messages.Control] = [
        messages.Deal(bundle=7, count=2, model=H32, rung=8, streamed=False),
        messages.BundleHeader(
            bundle=7, count=1, model=H32, plan=H32, sharing=H32, rung=8, streamed=True
        ),
        messages.RunHeader(bundle=7, model=H32, rung=8, slices=(piece, piece), digest=H32),
        messages.RunAgreement(digest=H32),
        messages.RunAbort(refused=(H16,)),
        messages.Batch(model=H32, timeout_ms=5, entries=(entry, entry)),
        messages.Refusal(status=429, error="later", retry_after=1.5),
        messages.ModelList(models=(state,)),
        messages.PartyStatus(party=1, version="1", ready=True, reason="", epoch=None, models=1),
        messages.PartyReport(
            party=1,
            version="1",
            ready=True,
            reason="",
            epoch=None,
            models=1,
            uptime_seconds=1.5,
            clock_ms=7,
            pools=(messages.PoolLevel(model="mnist", rung=8, ready=2),),
        ),
        messages.Commit(model=H32, receipts=(signed, signed, signed)),
        EpochReport(transcripts={"0": H32, "2": H32}, epoch=H32),
        CatalogReport(
            models=({"model": H32, "certificate": (signed,), "command": signed},), deleted=(signed,)
        ),  # type: ignore[arg-type]
    ]
    return {type(one).__name__: one for one in found}


def _control(kind: type[messages.Control]) -> Callable[[bytes], object]:
    def parse(data: bytes) -> object:
        found = kind.parse(data)
        if kind.parse(found.encode()) != found:
            raise WrongError("its own encoding says something else")
        return found

    return parse


def _framing(data: bytes) -> object:
    head, rest = split(data)
    if b"".join(map(bytes, frame(head, rest))) != data:
        raise WrongError("head and data are not the payload's")
    return messages.Batch.parse(head)


def _query(data: bytes) -> object:
    found = QueryPlaintext.parse(data, 4)
    if found.encode() != data:
        raise WrongError("another query than was sent")
    return found


def _output(data: bytes) -> object:
    text = data.decode("latin-1")
    found = parse_output(text)
    if str(found) != text:
        raise WrongError("two spellings of one output")
    return found


def _evaluation(data: bytes) -> object:
    found, index, rest = Evaluation.parse(memoryview(data))
    if found.encode(index) + bytes(rest) != data or found.rows_of(index) < 1:
        raise WrongError("another evaluation than was sent")
    return found


def _push(data: bytes) -> object:
    found = PushPlaintext.parse(data)
    if found.encode() != data:
        raise WrongError("another push than was sent")
    return found


def _reply(data: bytes) -> object:
    found = ReplyPlaintext.parse(data, 3)
    if found.encode() != data:
        raise WrongError("another reply than was sent")
    return found


def _envelope() -> Target:
    plain = b"a share of 18 byte"
    envelope = seal(HPKE.public_key().public_bytes_raw(), b"info", plain)

    def parse(data: bytes) -> object:
        opened = open_sealed(HPKE, b"info", data)
        if data != envelope or opened != plain:
            raise WrongError("an envelope was opened that nobody sealed")
        return opened

    return Target("envelope", [[envelope]], parse, (SealError,))


def _plan(data: bytes) -> object:
    found = Plan.from_json(data)
    if Plan.from_json(found.to_json()).digest != found.digest:
        raise WrongError("its own encoding says something else")
    # Whatever is worked out from an accepted plan is bounded, too.
    return hashlib.sha256(repr((found.sizes, found.kinds, found.last_reads)).encode())


def targets() -> list[Target]:
    receipt = OWNER.sign_document(documents()["receipt"])
    manifest = OWNER.sign_document(documents()["manifest"])
    query = [
        QueryPlaintext(bytes(16), bytes(32), ShareKind.PACKED, bytes(24)),
        QueryPlaintext(bytes(16), bytes(32), ShareKind.SEED, bytes(32), "label"),
    ]
    batch = [json.loads(controls()["Batch"].encode()), b"envelopes"]
    found = [
        Target(name, [[json.loads(one.encode())]], _document(type(one)), (WireError,))
        for name, one in documents().items()
    ]
    found += [
        Target(f"message {name}", [[json.loads(one.encode())]], _control(type(one)), (WireError,))
        for name, one in controls().items()
    ]
    found += [
        _signed(),
        _envelope(),
        Target("batch with envelopes", [batch], _framing, (WireError,), join=_framed),
        Target(
            "evaluation",
            [[Evaluation(bytes(16), 100, 32, b"cells").encode(3)]],
            _evaluation,
            (WireError,),
        ),
        Target("query plaintext", [[one.encode()] for one in query], _query, (WireError,)),
        Target(
            "output",
            [[b"logits"], [b"label"], [b"topk:3"], [b"scores:4:-8.0:8.0"], [b"confusion"]],
            _output,
            (InputError,),
        ),
        Target(
            "push plaintext", [[PushPlaintext(manifest, b"share").encode()]], _push, (WireError,)
        ),
        Target(
            "reply plaintext",
            [[ReplyPlaintext(bytes(32), bytes(18)).encode()]],
            _reply,
            (WireError,),
        ),
        Target("plan", [[json.loads(PLAN.to_json())]], _plan, (ModelError,), memory=32 * MIB),
    ]
    assert receipt
    return found


def _framed(parts: list[bytes]) -> bytes:
    head, *rest = parts
    return b"".join(map(bytes, frame(head, *rest)))
