"""A private evaluation as a client sees it: parts that are answered with nothing, then the sum.

1. A part's images are shared and sealed as a query's are. Its labels' binary digits are XOR-shared:
   party 0's share comes from the same seed, party 1's follows the image's.
2. Each evaluator answers a part with the digest of its run alone. The client keeps, of each part,
   the number of the query that was answered, and its digest.
3. At last the client names these numbers. Each evaluator seals the sum of its shares over exactly
   these; the client adds both up if their digests are the one that it has computed itself.
"""

from __future__ import annotations

import math
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from libmpc.answers import check_labels, label_digits
from libmpc.client.allowed import allowed_count
from libmpc.client.card import ModelCard
from libmpc.client.http import Operation
from libmpc.client.many import Batches, Counted, Part
from libmpc.client.places import Pin
from libmpc.client.sealed import encode_batch
from libmpc.client.sealed_parts import SealedPart, SealedSum, Terms, seal_part, seal_sum
from libmpc.errors import InputError, IntegrityError
from libmpc.outputs import MAX_SAMPLES, OutputKind
from libmpc.outputs import parse as parse_output
from libmpc.ring.packing import pack_bits
from libmpc.sealing.open import ReplyKey
from libmpc.wire.descriptor import Descriptor
from libmpc.wire.evaluation import MAX_PARTS, NUMBER_BYTES, Evaluation

if TYPE_CHECKING:
    from libmpc.client.session import Session

Cells = Iterable[tuple[int, int]]


@dataclass(frozen=True)
class Score:
    """What an evaluation tells.

    Attributes:
        samples: how many were counted.
        correct: how many of them are classified as labelled; ``None`` if not asked for.
        confusion: (classes, classes): how many samples with the row's label are answered with the
            column's index; -1 where that was not asked for. ``None`` if no cell was.
    """

    samples: int
    correct: int | None
    confusion: NDArray[np.int64] | None = field(default=None, repr=False)

    @property
    def accuracy(self) -> float | None:
        """The share that is classified as labelled."""
        return None if self.correct is None else self.correct / self.samples


class Evaluating:
    """One evaluation under way. Thread-safe.

    Args:
        descriptor: the model's.
        images, labels, confusion, cells, batch_size, progress: see ``Client.evaluate``.

    Raises:
        InputError: something does not fit, or the owner does not allow it.
        ValueError: a batch has no samples.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        images: object,
        labels: object,
        confusion: bool = False,
        cells: Cells | None = None,
        batch_size: int | None = None,
        progress: Counted | None = None,
    ) -> None:
        self._kind = allowed_count(descriptor, confusion or cells is not None)
        self._classes = descriptor.output_shape[-1]
        self._cells = _cells(self._kind, self._classes, None if confusion else cells)
        self._labels = check_labels(labels, self._classes)
        self.batches = Batches(descriptor, images, batch_size, progress)
        samples, size = len(self.batches), min(self.batches.size, len(self.batches))
        if len(self._labels) != samples:
            raise InputError(f"there are {samples} images and {len(self._labels)} labels")
        _check_size(descriptor, samples, size)
        self._evaluation = Evaluation(
            secrets.token_bytes(NUMBER_BYTES), samples, size, _bitmap(self._cells, self._classes)
        )
        # SECURITY: a fresh key for every evaluation; the sum is sealed to it and to nothing else.
        self._terms = Terms(str(self._kind), self._evaluation, ReplyKey.generate())
        self._descriptor = descriptor
        self._answered: dict[int, tuple[bytes, bytes]] = {}
        self._lock = threading.Lock()
        self._pin = Pin()  # the sum is made where all parts are

    def send(self, session: Session, name: str, part: Part) -> Operation[None]:
        """Have one part computed, with retries."""
        encoded = encode_batch(self._descriptor, part.x)
        index = part.start // self._evaluation.rows
        digits = label_digits(self._labels[part.start : part.stop], self._classes)

        def seal(card: ModelCard) -> SealedPart:
            deployment, now = session.deployment_id, session.clock.now()
            return seal_part(deployment, card, self._terms, encoded, digits, index, now)

        answered, _ = yield from session.ask(name, seal, self._descriptor.model, self._pin)
        with self._lock:
            self._answered[index] = answered
        self.batches.done(part)

    def collect(self, session: Session, name: str) -> Operation[Score]:
        """Get the sum, once all parts have been answered."""
        parts = [self._answered[index] for index in range(self._evaluation.parts)]

        def seal(card: ModelCard) -> SealedSum:
            deployment, now = session.deployment_id, session.clock.now()
            return seal_sum(deployment, card, self._terms, parts, max(1, len(self._cells)), now)

        sums, _ = yield from session.ask(name, seal, self._descriptor.model, self._pin)
        return self._score(sums)

    def _score(self, sums: NDArray[np.int64]) -> Score:
        samples, whole = self._evaluation.samples, len(self._cells) == self._classes**2
        total = int(sums.sum())
        if sums.min() < 0 or total > samples or (whole and total != samples):
            raise IntegrityError(
                "the evaluators' count is not one of so many samples, so there is none; if it "
                "happens again, tell both parties' operators"
            )
        if not len(self._cells):
            return Score(samples, total)
        confusion = np.full((self._classes, self._classes), -1, np.int64)
        confusion.reshape(-1)[self._cells] = sums
        diagonal = confusion.diagonal()
        return Score(samples, None if diagonal.min() < 0 else int(diagonal.sum()), confusion)


def _cells(kind: OutputKind, classes: int, cells: Cells | None) -> NDArray[np.int64]:
    """The cells to open, ascending; none where only hits are counted."""
    if kind.name == "count":
        return np.zeros(0, np.int64)
    if classes > 64:
        raise InputError(f"a confusion matrix has at most 64 classes, and the model has {classes}")
    if cells is None:
        return np.arange(classes**2, dtype=np.int64)
    found = set()
    for label, index in cells:
        if not (0 <= label < classes and 0 <= index < classes):
            raise InputError(f"labels and indices of this model go from 0 to {classes - 1}")
        found.add(int(label) * classes + int(index))
    if not found:
        raise InputError("no cell of the matrix is asked for")
    return np.array(sorted(found), np.int64)


def _bitmap(cells: NDArray[np.int64], classes: int) -> bytes:
    if not len(cells):
        return b""
    bits = np.zeros(classes**2, np.uint64)
    bits[cells] = 1
    return pack_bits(bits)


def _check_size(descriptor: Descriptor, samples: int, size: int) -> None:
    if samples > MAX_SAMPLES:
        raise InputError(f"an evaluation has at most {MAX_SAMPLES} samples")
    if -(-samples // size) > MAX_PARTS:
        needed = math.ceil(samples / MAX_PARTS)
        raise InputError(f"an evaluation has at most {MAX_PARTS} batches: give batch_size={needed}")
    least = parse_output(descriptor.output).at_least
    if samples < least:
        raise InputError(
            f"the owner of model {descriptor.name!r} allows evaluations of {least} samples or "
            f"more, and there are {samples}"
        )
