"""What a client may ask a model for."""

from __future__ import annotations

from libmpc.errors import InputError
from libmpc.outputs import LOGITS, OutputKind, allows, parse
from libmpc.wire.descriptor import Descriptor


def allowed(descriptor: Descriptor, output: str | None, final: bool) -> OutputKind:
    """What to ask for: by default all that the owner allows.

    Raises:
        InputError: there is no such output, the owner does not allow it, or ``final`` needs logits.
    """
    policy = parse(descriptor.output)
    kind = policy if output is None else parse(output)
    if kind.takes_labels:
        raise InputError(f"{kind} is not an answer to a query")
    if not allows(policy, kind):
        raise InputError(
            f"the owner of model {descriptor.name!r} allows it to answer with {policy} only, "
            f"not with {kind}"
        )
    if final and kind != LOGITS:
        raise InputError(f"the last activation is made of logits, and the answer is {kind}")
    return kind
