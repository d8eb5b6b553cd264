"""Runs of three production parties, of which everything that each party sees is kept.

The parties, their links and a gateway are those of production, in one process over memory streams.
What a party *sees* is every message that it receives, after decryption, and every word that it
draws from a stream; nothing else enters it from outside while queries are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from libmpc.fixedpoint import encode
from libmpc.link import Link
from libmpc.party import evaluator, roles
from libmpc.party.messages import Kind
from libmpc.party.node_settings import NodeSettings
from libmpc.party.run import stack
from libmpc.party.settings import RoleSettings
from libmpc.prg import Stream
from libmpc.protocol import output
from tests.party.triple import FAST, Refused, expected, perceptron, triple

ROWS = 128
#: equal, so that words that were drawn from one place of a stream meet in one row
INPUTS = HIDDEN = OUTPUTS = 2
PLAN, _ = perceptron(INPUTS, HIDDEN, OUTPUTS)
#: powers of two, so that products have zeros below: nothing random about them
WEIGHTS: Mapping[int, Any] = {
    1: (encode(np.array([[0.5, -2.0], [1.0, 0.25]])), encode(np.array([2.0, 4.0]), 32)),
    3: (encode(np.array([[-1.0, 0.5], [0.5, 8.0]])), encode(np.array([-1.0, 0.0]), 32)),
}
#: large, or zero
OTHER_WEIGHTS: Mapping[int, Any] = {
    1: (encode(np.full((2, 2), 2.0)), encode(np.array([0.3, -0.7]), 32)),
    3: (encode(np.zeros((2, 2))), encode(np.zeros(2), 32)),
}
#: as few bundles ahead as possible: what is never used is seen by nobody
SETTINGS = NodeSettings(link=FAST, role=RoleSettings(pool={ROWS: 1}, take_timeout=3))
CORRELATED, LEAVING = "correlated randomness", "leaving values"


class Frame(NamedTuple):
    """One message as it was received."""

    receiver: int
    sender: int
    kind: int
    bundle: int
    step: int
    payload: bytes


class Drawn(NamedTuple):
    """What names a draw: who made it, from which stream, for what."""

    holder: int
    stream: str  # a class of keys; at the dealer with the party that it shares it with
    bundle: int
    step: int
    purpose: int


@dataclass
class Recording:
    """All that was seen in some runs on the same rows.

    Attributes:
        row: what was asked, every time and in every row.
        weights: encoded, by step.
        weight_mask: λ_W of the first layer.
        frames: in the order in which they arrived.
        draws: the bytes of each draw.
        released: by run, what party 0 had of the output, and what it released.
        inputs: by party and bundle, its share of the rows.
        answers: by query, whether it was right; ``None`` where it failed.
        repeated: draws of one name that were made again.
        runs: bundles that were used, in order.
    """

    row: np.ndarray[Any, Any]
    weights: Mapping[int, Any]
    weight_mask: np.ndarray[Any, Any] | None = None
    frames: list[Frame] = field(default_factory=list)
    draws: dict[Drawn, bytes] = field(default_factory=dict)
    released: list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(default_factory=list)
    inputs: dict[tuple[int, int], np.ndarray[Any, Any]] = field(default_factory=dict)
    answers: list[bool | None] = field(default_factory=list)
    repeated: Counter[Drawn] = field(default_factory=Counter)

    @property
    def runs(self) -> list[int]:
        return [f.bundle for f in self.frames if f.kind == Kind.RUN]

    def watch(self, stream: Stream, holder: int, name: str, bundle: int) -> Stream:
        """Keep what is drawn from ``stream``."""
        fill = stream.fill

        def kept(step: int, purpose: int, out: np.ndarray[Any, Any]) -> None:
            fill(step, purpose, out)
            drawn = Drawn(holder, name, bundle, step, int(purpose))
            self.repeated[drawn] += drawn in self.draws
            self.draws[drawn] = out.tobytes()

        stream.fill = kept  # type: ignore[method-assign]
        return stream


def replace(patch: pytest.MonkeyPatch, function: Any, new: Any) -> None:
    """Put ``new`` in the place of a production function wherever it was imported to."""
    found = 0
    for name, module in list(sys.modules.items()):
        if name.startswith("libmpc") and getattr(module, function.__name__, None) is function:
            patch.setattr(module, function.__name__, new)
            found += 1
    assert found, function


@contextlib.contextmanager
def recorded(
    patch: pytest.MonkeyPatch, row: np.ndarray[Any, Any], weights: Mapping[int, Any]
) -> Iterator[Recording]:
    """Everything that parties see from here on."""
    recording = Recording(row, weights)
    start, own, dealers = Link.start, evaluator.Evaluator._stream, roles.bundle_stream
    rerandomise = output.rerandomise
    evaluate = evaluator.Evaluator._evaluate
    made: Counter[int] = Counter()

    def tapped(self: Any, handler: Callable[[Any], None], *rest: Any, **named: Any) -> None:
        def take(message: Any) -> None:
            recording.frames.append(
                Frame(
                    self._local,
                    self.peer,
                    message.kind,
                    message.bundle,
                    message.step,
                    bytes(message.payload),
                )
            )
            handler(message)

        start(self, take, *rest, **named)

    def evaluators(self: Any, secret: bytes, purpose: str, model: str, bundle: int) -> Stream:
        stream = own(self, secret, purpose, model, bundle)
        return recording.watch(stream, self.index, purpose, bundle)

    def dealers_own(secret: bytes, epoch: bytes, purpose: str, model: str, bundle: int) -> Stream:
        stream = dealers(secret, epoch, purpose, model, bundle)
        made[bundle] += 1  # of party 0, then of party 1
        return recording.watch(stream, 2, f"{purpose} {made[bundle] - 1}", bundle)

    async def evaluated(self: Any, run: Any, entry: Any, parts: Any, bundle: Any) -> None:
        recording.inputs[self.index, run.bundle] = stack(parts, run.header.rung)
        await evaluate(self, run, entry, parts, bundle)

    def leaving(step: int, party: int, share: Any, stream: Stream) -> Any:
        before = share.copy()
        released = rerandomise(step, party, share, stream)
        if party == 0:
            recording.released.append((before, released))
        return released

    patch.setattr(Link, "start", tapped)
    patch.setattr(evaluator.Evaluator, "_stream", evaluators)
    patch.setattr(evaluator.Evaluator, "_evaluate", evaluated)
    patch.setattr(roles, "bundle_stream", dealers_own)
    patch.setattr(output, "rerandomise", leaving)
    yield recording


def record(
    directory: Path,
    row: np.ndarray[Any, Any],
    weights: Mapping[int, Any] = WEIGHTS,
    *,
    runs: int,
    mutant: Callable[[pytest.MonkeyPatch], None] | None = None,
    settings: NodeSettings = SETTINGS,
) -> Recording:
    """Push ``weights``, and ask ``runs`` queries, of ``ROWS`` times the same row each."""
    x = np.repeat(row[None], ROWS, axis=0)
    right = expected(PLAN, dict(weights), x)

    async def main(recording: Recording) -> None:
        async with triple(directory, settings=settings) as parties:
            gateway = await parties.gateway()
            model = await gateway.push(PLAN, dict(weights))
            dealers: Any = parties.nodes[2].catalog.entries[model].weights
            recording.weight_mask = np.array(dealers.masks[1])
            for _ in range(runs):
                try:
                    answer = await gateway.query(x)
                except (Refused, AssertionError):
                    recording.answers.append(None)
                    return  # a party that notices it is one way to notice it
                recording.answers.append(bool(np.array_equal(answer, right)))

    with pytest.MonkeyPatch.context() as patch:
        if mutant is not None:
            mutant(patch)
        with recorded(patch, row, weights) as recording:
            asyncio.run(main(recording))
    return recording
