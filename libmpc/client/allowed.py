"""What a client may ask a model for."""

from __future__ import annotations

from libmpc.errors import InputError
from libmpc.outputs import LOGITS, OutputKind, allows, answer_shape, parse
from libmpc.wire.descriptor import Descriptor


def allowed(descriptor: Descriptor, output: str | None, final: bool) -> OutputKind:
    """What to ask for: by default all that the owner allows.

    Raises:
        InputError: there is no such output, the owner does not allow it, or ``final`` needs logits.
    """
    policy = parse(descriptor.output)
    kind = policy.answer if output is None else parse(output)
    if kind.takes_labels:
        whose = "the owner allows evaluations only" if output is None else f"{kind} needs labels"
        raise InputError(f"{whose}: use 'libmpc evaluate', or evaluate() in Python")
    _check(descriptor, policy, kind)
    if final and kind != LOGITS:
        raise InputError(f"the last activation is made of logits, and the answer is {kind}")
    return kind


def allowed_count(descriptor: Descriptor, confusion: bool) -> OutputKind:
    """What an evaluation counts.

    Raises:
        InputError: the owner does not allow it, or the model has no classes.
    """
    kind = parse("confusion" if confusion else "count")
    _check(descriptor, parse(descriptor.output), kind)
    answer_shape(kind, descriptor.output_shape)
    return kind


def _check(descriptor: Descriptor, policy: OutputKind, kind: OutputKind) -> None:
    if not allows(policy, kind):
        raise InputError(
            f"the owner of model {descriptor.name!r} allows it to answer with {policy} only, "
            f"not with {kind}"
        )
