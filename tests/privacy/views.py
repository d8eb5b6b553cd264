"""What a coalition knows after some runs, cut into lanes of bytes and into bits of one row.

A *coalition* is one party with all others but parties: the gateway, the client whose rows are
asked and the model's owner. Its view of a run has the messages that the party received, the words
that it drew, and the masks of others that are left when everything is subtracted that the
coalition knows. (What a missing mask should have covered may look random all the same.) A sample
is what all these hold of one row, so that a mask that is used twice shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from libmpc.fixedpoint import encode
from libmpc.party.framing import split
from libmpc.party.messages import Kind
from libmpc.protocol.exchange import round_tag
from libmpc.protocol.purposes import Purpose
from libmpc.ring.packing import BYTES, MASK, unpack
from tests.privacy.recording import (
    CORRELATED,
    HIDDEN,
    INPUTS,
    OUTPUTS,
    ROWS,
    Drawn,
    Recording,
)

Array = np.ndarray[Any, Any]
LOW16, SHIFT = np.uint64(0xFFFF), np.uint64(16)
INPUT, RELU, OUTPUT = 0, 2, 4
#: of the ReLU's half: rows of words, then of ring elements
WORDS, RING = 8, 3


def by_row(data: bytes, values: int, size: int) -> Array:
    """(rows, values · size) where each value has ``size`` bytes."""
    return np.frombuffer(data, np.uint8).reshape(ROWS, values * size)


def bits_by_row(data: bytes, values: int) -> Array:
    """(rows, values) bits, of one bit a value."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return bits.reshape(-1, ROWS, values).transpose(1, 0, 2).reshape(ROWS, -1)


def halves_by_row(data: bytes) -> Array:
    """(rows, bytes) of one half of the ReLU's tables, products and arithmetic shares."""
    at = 8 * WORDS * ROWS * HIDDEN
    words = np.frombuffer(data[:at], np.uint8).reshape(WORDS, ROWS, -1)
    ring = np.frombuffer(data[at:], np.uint8).reshape(RING, ROWS, -1)
    return np.concatenate([*words, *ring], axis=1)


def packed(values: Array) -> bytes:
    """Ring elements, six bytes each."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8)[:, :BYTES].tobytes()


DRAWS = {
    (INPUT, Purpose.MASK): lambda data: by_row(data, INPUTS, 8),
    (RELU, Purpose.MASK): lambda data: by_row(data, HIDDEN, 8),
    (RELU, Purpose.OPENING): lambda data: by_row(data, HIDDEN, 8),
    (RELU, Purpose.BITS): lambda data: by_row(data, HIDDEN, 2),
    (RELU, Purpose.SELECT_BITS): lambda data: bits_by_row(data, HIDDEN),
    (RELU, Purpose.RELU_SHARES): halves_by_row,
    (OUTPUT, Purpose.OUTPUT): lambda data: by_row(data, OUTPUTS, 8),
    (OUTPUT, Purpose.RERANDOMISE): lambda data: by_row(data, OUTPUTS, 8),
}
ROUNDS = {
    round_tag(INPUT, 0): ("masked input", lambda data: by_row(data, INPUTS, BYTES)),
    round_tag(RELU, 0): ("opening", lambda data: by_row(data, HIDDEN, BYTES)),
    round_tag(RELU, 1): ("comparison bits", lambda data: by_row(data, HIDDEN, 2)),
    round_tag(RELU, 2): ("selection bits", lambda data: bits_by_row(data, HIDDEN)),
    round_tag(RELU, 3): ("masked result", lambda data: by_row(data, HIDDEN, BYTES)),
}
_BITS = ("selection bits", "SELECT_BITS")


def view(recording: Recording, party: int, run: int) -> dict[str, Array]:
    """(rows, bytes or bits) by name, of what a coalition knows of a run."""
    bundle = recording.runs[run]
    found: dict[str, Array] = {}
    for drawn, data in recording.draws.items():
        if drawn.holder == party and drawn.bundle == bundle:
            name = f"{drawn.stream}, step {drawn.step}, {Purpose(drawn.purpose).name}"
            found[name] = DRAWS[drawn.step, Purpose(drawn.purpose)](data)
    for frame in recording.frames:
        if frame.receiver == party and frame.bundle == bundle and frame.kind == Kind.ROUND:
            name, cut = ROUNDS[frame.step]
            found[name] = cut(frame.payload)
        if (frame.receiver, frame.kind, frame.bundle) == (1, Kind.BUNDLE, bundle) and party == 1:
            _, corrections = split(frame.payload)
            at = (8 * WORDS + BYTES * RING) * ROWS * HIDDEN
            found["correction of the ReLU"] = halves_by_row(bytes(corrections[:at]))
            found["correction of the output"] = by_row(bytes(corrections[at:]), OUTPUTS, BYTES)
    before, released = recording.released[run]
    if party == 2:
        found["cover of the answer"] = by_row(packed(released - before), OUTPUTS, BYTES)
    else:
        found["party 0's half of the answer"] = by_row(packed(released), OUTPUTS, BYTES)
        found["own share of the input"] = by_row(
            packed(recording.inputs[party, bundle]), INPUTS, BYTES
        )
        found |= covers(recording, party, bundle)
    return dict(sorted(found.items()))


def covers(recording: Recording, party: int, bundle: int) -> dict[str, Array]:
    """What is left of opened values without all that an evaluator, client and owner know.

    They know every value, λ_W and the evaluator's own masks. What is left are the masks of the
    other evaluator: all that hides the same things from those who do not know them.
    """
    sent: dict[int, dict[int, bytes]] = {0: {}, 1: {}}
    for frame in recording.frames:
        if frame.bundle == bundle and frame.kind == Kind.ROUND:
            sent[frame.receiver][frame.step] = frame.payload

    def own(step: int, purpose: Purpose) -> Array:
        name = Drawn(party, CORRELATED, bundle, step, purpose)
        drawn = np.frombuffer(recording.draws.get(name, b""), np.uint64)
        return drawn.reshape(ROWS, -1) if drawn.size else np.zeros((ROWS, 1), np.uint64)

    def opened(step: int, number: int, values: int) -> Array:
        halves = [unpack(s[round_tag(step, number)], ROWS * values) for s in sent.values()]
        return (halves[0] + halves[1]).reshape(ROWS, values)

    (w, b), x = recording.weights[1], encode(recording.row)
    z = (x @ w + b) & MASK
    y = np.maximum((z << np.uint64(16)).view(np.int64) >> 32, 0).view(np.uint64)
    m_x, m, m_y = opened(INPUT, 0, INPUTS), opened(RELU, 0, HIDDEN), opened(RELU, 3, HIDDEN)
    lam = (m - z) & MASK
    missing = (m_x - x) @ recording.weight_mask
    borrow = (m & LOW16) < (lam & LOW16)
    high = ((m & MASK) >> SHIFT) - (lam >> SHIFT)
    positive = high.astype(np.uint32).view(np.int32) >= 1
    chosen = bits_by_row(sent[0][round_tag(RELU, 2)], HIDDEN)
    chosen ^= bits_by_row(sent[1][round_tag(RELU, 2)], HIDDEN)
    mine = recording.draws.get(Drawn(party, CORRELATED, bundle, RELU, Purpose.SELECT_BITS))
    masks = bits_by_row(mine or bytes(2 * ROWS * HIDDEN // 8), HIDDEN)
    bits = [np.frombuffer(s[round_tag(RELU, 1)], np.uint8) for s in sent.values()]
    return {
        "cover of the input": by_row(packed(m_x - x - own(INPUT, Purpose.MASK)), INPUTS, BYTES),
        "cover of the opening": by_row(
            packed(lam + missing - own(RELU, Purpose.OPENING)), HIDDEN, BYTES
        ),
        "opened comparison bits": (bits[0] ^ bits[1]).reshape(ROWS, -1),
        "opened selection bits": chosen,
        "cover of the selection bits": chosen ^ masks ^ np.concatenate([positive, borrow], axis=1),
        "cover of the result": by_row(packed(m_y - y - own(RELU, Purpose.MASK)), HIDDEN, BYTES),
    }


def lanes(recording: Recording, party: int) -> dict[str, Array]:
    """By name, bytes at one place of a row's sample, of all runs."""
    views = [view(recording, party, run) for run in range(len(recording.runs))]
    found: dict[str, Array] = {}
    for name in views[0]:
        whole = np.concatenate([v[name] for v in views])
        if name.endswith(_BITS):
            whole = np.packbits(whole.reshape(len(whole) // 8, -1), axis=1)
        for place, lane in enumerate(whole.T):
            found[f"{name}, byte {place}"] = lane
    return found


def samples(recording: Recording, party: int) -> dict[str, Array]:
    """By name, (samples, bits) of −1 and 1: what is known of a row of one run and of the next."""
    found: dict[str, list[Array]] = {}
    for first in range(0, len(recording.runs) - 1, 2):
        for which in (0, 1):
            for name, part in view(recording, party, first + which).items():
                bits = part if name.endswith(_BITS) else np.unpackbits(part, axis=1)
                label = f"{name} ({('a run', 'the next run')[which]})"
                found.setdefault(label, []).append(bits.astype(np.float32) * 2 - 1)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def shape(recording: Recording) -> list[Any]:
    """Who received how much of what, run by run, and who drew it; values left out."""
    found: list[Any] = []
    for bundle in recording.runs:
        frames = [
            (f.receiver, f.sender, f.kind, f.step, len(f.payload))
            for f in recording.frames
            if f.bundle == bundle
            and f.sender != 255
            and f.receiver != 255
            and f.kind in (Kind.ROUND, Kind.AGREE, Kind.CORRECTION, Kind.BUNDLE)
        ]
        draws = [(d[:2], d[3:], len(b)) for d, b in recording.draws.items() if d.bundle == bundle]
        found.append((sorted(frames), sorted(draws)))
    return found


def twice(recording: Recording) -> Iterator[str]:
    """Frames and draws of one name that came twice; a step is sent, and a word drawn, once."""
    seen = set()
    for frame in recording.frames:
        if frame.kind == Kind.ROUND:
            key = (frame.receiver, frame.bundle, frame.step)
            if key in seen:
                yield f"{ROUNDS[frame.step][0]} sent twice"
            seen.add(key)
    yield from (
        f"{Purpose(d.purpose).name} drawn twice" for d, n in recording.repeated.items() if n
    )
