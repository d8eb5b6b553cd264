"""What is left to the client after the last linear layer, as descriptors spell it.

``"softmax"``, ``"log_softmax"``, ``"argmax"`` go along the last axis of an answer, or along another
one that counts from the end: ``"softmax:-3"``. ``"sigmoid"`` needs no axis; null is nothing.
"""

from __future__ import annotations

from libmpc.wire.errors import WireError

KINDS = ("softmax", "log_softmax", "sigmoid", "argmax")


def spell_final(kind: str | None, axis: int = -1) -> str | None:
    """The field's value.

    Args:
        axis: counted from the end.

    Raises:
        WireError: no such activation or axis.
    """
    if kind is None:
        return None
    if kind not in KINDS or not -8 <= axis <= -1:
        raise WireError(f"no final activation: {kind!r} along axis {axis}")
    return kind if axis == -1 or kind == "sigmoid" else f"{kind}:{axis}"


def read_final(text: str | None) -> tuple[str | None, int]:
    """Kind and axis of a field that has been checked."""
    if text is None:
        return None, -1
    kind, _, axis = text.partition(":")
    return kind, int(axis or "-1")
