"""An audit: both evaluators check that the dealer's corrections for a bundle are right.

A correction follows from both streams of the bundle and from λ_W. Neither evaluator may learn λ_W,
and with the bundle's whole key party 1 could solve for it: its tables give the λ of an opening, and
λ = γ_0 + γ_1 − λ_x·λ_W. So γ_0 stays covered by what it covers, and no key is shown.

1. The dealer vouches for party 0's masks: with the bundle, party 1 got their salted hash.
2. P_1 shows λ_1 of every masked value (``masks``).
3. P_0 shows (``show``) λ_0, its masks of opened bits, a hash of its half of each table, and for
   each opening or output γ_0 − d_0, where d_0 is λ_x·λ_W0 and what follows linearly from that.
4. P_1 adds its own d_1 and has, of an honest dealer, the λ that its tables tell it anyway
   (``check``). It deals again: what is shared less one half is the other half, so dealing on party
   1's correction gives party 0's half, whose hash it knows; an output's correction must come out
   as it came.

Nothing is ever computed on the bundle. *Why P_1 learns nothing of the weights*: every γ_0 is
uniform, in use once, and shown as γ_0 − d_0 only. *Why P_0 does not*: it gets masks and a verdict.
With a false λ_0 it could guess at λ_W1 and see from the verdict whether it was right; that is what
the dealer's word is for.

Rounds: 1.5.  Sends: P_1 8 bytes a masked value; P_0 18.25 bytes a ReLU, less at other steps.
"""

from __future__ import annotations

import hmac
import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from libmpc.graph.plan import (
    InputStep,
    MaskStep,
    PickStep,
    Plan,
    PositiveStep,
    RectifyStep,
    ReluStep,
    TruncateStep,
)
from libmpc.prg import Stream
from libmpc.protocol.errors import ProtocolError
from libmpc.protocol.exchange import Payload
from libmpc.protocol.purposes import Purpose
from libmpc.protocol.weights import EvaluatorWeights
from libmpc.runtime.cost import correction_sizes
from libmpc.runtime.dealer import deal
from libmpc.runtime.sizes import prepared_sizes

Ring = NDArray[np.uint64]
Draws = Mapping[tuple[int, int], bytes]
"""By step and purpose, what was drawn, or what is shown of it."""

#: SECURITY: what covers λ_x·λ_W; never shown as it is, or party 1 could solve for the weights
COVERS = frozenset({Purpose.OPENING, Purpose.OUTPUT})
#: of these a hash is shown
HALVES = frozenset(
    {
        Purpose.RELU_SHARES,
        Purpose.TRUNCATE_SHARES,
        Purpose.RECTIFY_SHARES,
        Purpose.POSITIVE_SHARES,
        Purpose.TOP_SHARES,
        Purpose.TOP_TABLES,
        Purpose.PICK_SHARES,
        Purpose.LOOKUP_SHARES,
    }
)
_MASKED = (
    *(InputStep, ReluStep, TruncateStep, RectifyStep, PositiveStep),
    *(MaskStep, PickStep),
)
_HEAD = struct.Struct(">IHI")
_SALT = (0, Purpose.AUDIT)
_SALT_BYTES = 32
_HALF = 0  # no purpose: the hash of a step's halves


class Remembered(Stream):
    """A bundle's stream that keeps what was drawn, and gives it again to who asks again.

    Only for a bundle that nothing is computed on, or, with ``purposes``, for the dealer's word.

    Args:
        stream: the bundle's fresh stream.
        purposes: what to keep; by default everything.
    """

    def __init__(self, stream: Stream, purposes: frozenset[int] | None = None) -> None:
        self._stream = stream
        self._purposes = purposes
        self.kept: dict[tuple[int, int], bytes] = {}

    def __repr__(self) -> str:
        return f"<Remembered, {len(self.kept)} draws>"

    def fill(self, layer: int, purpose: int, out: NDArray[Any]) -> None:
        if (layer, purpose) in self.kept:
            out.data.cast("B")[:] = self.kept[layer, purpose]
            return
        self._stream.fill(layer, purpose, out)
        if self._purposes is None or purpose in self._purposes:
            self.kept[layer, int(purpose)] = out.tobytes()


class _Shown(Stream):
    """The other evaluator's stream, of which some draws are known and the key is not."""

    def __init__(self, draws: Draws, *, blank: bool = False) -> None:
        self._draws = draws
        self._blank = blank

    def __repr__(self) -> str:
        return f"<Shown, {len(self._draws)} draws>"

    def fill(self, layer: int, purpose: int, out: NDArray[Any]) -> None:
        """As shown; zeros where ``blank``; and of a half nothing: party 1's own is there.

        Raises:
            ProtocolError: it was not shown, or another number of bytes.
        """
        known = self._draws.get((layer, int(purpose)))
        if purpose in HALVES and not self._blank:
            return
        if known is None and self._blank:
            known = bytes(out.nbytes)
        if known is None or len(known) != out.nbytes:
            raise ProtocolError
        out.data.cast("B")[:] = known


def masks(plan: Plan, batch: int, stream: Stream) -> dict[tuple[int, int], bytes]:
    """λ_j of every masked value that a step makes."""
    return {
        (index, Purpose.MASK): stream.words(
            index, Purpose.MASK, batch * plan.sizes[index]
        ).tobytes()
        for index, step in enumerate(plan.steps)
        if isinstance(step, _MASKED)
    }


def vouch(plan: Plan, batch: int, stream0: Stream) -> bytes:
    """The dealer's word for party 0's masks, 32 bytes, for party 1; it tells nothing of them."""
    salt = stream0.bytes(*_SALT, _SALT_BYTES).tobytes()
    return _digest(salt, masks(plan, batch, stream0))


def show(
    plan: Plan, weights: EvaluatorWeights, batch: int, stream: Remembered, masks1: Draws
) -> dict[tuple[int, int], bytes]:
    """What party 0 shows of a bundle that is audited.

    Args:
        stream: party 0's, of that bundle.
        masks1: what party 1 has shown.

    Raises:
        ProtocolError: that does not fit the plan.
    """
    missing: dict[int, Ring] = {}
    stream.bytes(*_SALT, _SALT_BYTES)
    # Of no use but to draw all that the dealer draws, in its way.
    for _ in deal(
        plan, weights, batch, stream, _Shown(masks1, blank=True), missing=missing.__setitem__
    ):
        pass
    shown: dict[tuple[int, int], bytes] = {}
    halves = {step: b"" for step, purpose in stream.kept if purpose in HALVES}
    for (step, purpose), drawn in stream.kept.items():
        if purpose in HALVES:
            halves[step] += drawn
        elif purpose in COVERS:
            # SECURITY: γ_0 itself would uncover λ_x·λ_W.
            covered = np.frombuffer(drawn, np.uint64) - missing[step].reshape(-1)
            shown[step, purpose] = covered.tobytes()
        else:
            shown[step, purpose] = drawn
    return shown | {(step, _HALF): sha256(half).digest() for step, half in halves.items()}


def check(
    plan: Plan,
    weights: EvaluatorWeights,
    batch: int,
    stream: Remembered,
    *,
    shown: Draws,
    vouched: bytes,
    corrections: Mapping[int, Payload],
) -> str:
    """Party 1: what is wrong with a bundle, for the log; empty where everything is right.

    Args:
        stream: party 1's, of that bundle.
        shown: what party 0 has shown.
        vouched: what came with the bundle.
        corrections: by step, as they came.
    """
    masks0 = {name: drawn for name, drawn in shown.items() if name[1] == Purpose.MASK}
    # SECURITY: first, and alone. Everything below depends on party 0's masks times our λ_W1.
    if not hmac.compare_digest(vouched, _digest(shown.get(_SALT, b""), masks0)):
        return "party 0 shows other masks than the dealer has vouched for"
    sizes = correction_sizes(plan, batch)
    again = bytearray().join(corrections[step] for step in sizes)
    try:
        for step, half in deal(plan, weights, batch, _Shown(shown), stream, memoryview(again)):
            own = shown.get((step, _HALF))
            right = bytes(corrections[step]) if own is None else own
            found = bytes(half) if own is None else sha256(half).digest()
            if found != right:
                return f"the correction of step {step} ({plan.steps[step].op}) is wrong"
    except ProtocolError:
        return "party 0 has not shown what the plan asks for"
    return ""


def most_bytes(plan: Plan, batch: int) -> int:
    """An upper bound of ``pack``, for either evaluator."""
    return sum(prepared_sizes(plan, batch).values()) + 256 * (len(plan.steps) + 1)


def pack(draws: Draws) -> bytes:
    """For each draw: step u32, purpose u16, length u32, bytes."""
    parts = []
    for (step, purpose), drawn in sorted(draws.items()):
        parts += [_HEAD.pack(step, purpose, len(drawn)), drawn]
    return b"".join(parts)


def unpack(packed: Payload) -> dict[tuple[int, int], bytes]:
    """The inverse of ``pack``.

    Raises:
        ProtocolError: it is not what ``pack`` makes.
    """
    view, at, last = memoryview(packed), 0, (-1, -1)
    draws: dict[tuple[int, int], bytes] = {}
    while at < len(view):
        if len(view) - at < _HEAD.size:
            raise ProtocolError
        step, purpose, size = _HEAD.unpack_from(view, at)
        at += _HEAD.size
        if (step, purpose) <= last or len(view) - at < size:
            raise ProtocolError
        last = (step, purpose)
        draws[last] = bytes(view[at : at + size])
        at += size
    return draws


def _digest(salt: bytes, masks: Draws) -> bytes:
    digest = sha256(salt)
    for (step, _), drawn in sorted(masks.items()):
        digest.update(step.to_bytes(4) + len(drawn).to_bytes(8))
        digest.update(drawn)
    return digest.digest()
