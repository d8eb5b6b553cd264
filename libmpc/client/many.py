"""A large array as batches: which is next, where its answer goes, and whose an error is."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from libmpc.client.final import Answer
from libmpc.errors import InputError, LibmpcError, ServiceError
from libmpc.inputs import check_inputs
from libmpc.wire.descriptor import Descriptor

BATCH_SIZES = (128, 32, 8, 1)
#: values that a batch has at most, unless one sample has more: its answer must come in time
_BATCH_VALUES = 1 << 17
IN_FLIGHT = 4

Counted = Callable[[int, int], None]
"""Told of (samples answered, samples in all) after each batch."""


@dataclass(frozen=True)
class Part:
    """Samples ``start`` to ``stop`` of the array."""

    start: int
    stop: int
    x: NDArray[np.generic]


class Batches:
    """Thread-safe.

    Args:
        descriptor: the model's.
        x: (samples, *input_shape).
        batch_size: samples in one query; ``None`` for as many as are quick to answer.
        progress: told of what has been answered, one call at a time.

    Raises:
        InputError: anything in ``x`` does not fit.
        ValueError: a batch has no samples.
    """

    def __init__(
        self,
        descriptor: Descriptor,
        x: object,
        batch_size: int | None = None,
        progress: Counted | None = None,
    ) -> None:
        if batch_size is None:
            most = _BATCH_VALUES // math.prod(descriptor.input_shape)
            batch_size = next((size for size in BATCH_SIZES if size <= most), 1)
        if batch_size < 1:
            raise ValueError("a batch has at least one sample")
        self.model = descriptor.model
        self._x = _array(descriptor, x)
        self.size = batch_size
        self._progress = progress
        self._lock = threading.Lock()
        self._next = self._done = 0
        self._answer: Answer | None = None
        self._error: tuple[Part, BaseException] | None = None
        self._check(descriptor)

    def _check(self, descriptor: Descriptor) -> None:
        # All of it before any of it is sent, and never a copy of all of it.
        shape, bounds = descriptor.input_shape, descriptor.input_range
        for start in range(0, len(self._x), self.size):
            part = self._part(start)
            try:
                check_inputs(part.x, shape=shape, input_range=bounds)
            except InputError as error:
                raise named(error, part) from None

    def _part(self, start: int) -> Part:
        stop = min(start + self.size, len(self._x))
        return Part(start, stop, self._x[start:stop])

    def take(self) -> Part | None:
        """What is to be asked next; ``None`` when all has been, or something has failed."""
        with self._lock:
            if self._error is not None or self._next >= len(self._x):
                return None
            part = self._part(self._next)
            self._next = part.stop
            return part

    def __len__(self) -> int:
        """Samples in all."""
        return len(self._x)

    def put(self, part: Part, answer: Answer) -> None:
        """Keep an answer in its place."""
        with self._lock:
            if self._answer is None:
                self._answer = np.empty((len(self._x), *answer.shape[1:]), answer.dtype)
            self._answer[part.start : part.stop] = answer
            self._count(part)

    def done(self, part: Part) -> None:
        """Note that a batch needs nothing more; it has no answer."""
        with self._lock:
            self._count(part)

    def _count(self, part: Part) -> None:
        self._done += part.stop - part.start
        if self._progress is not None:
            self._progress(self._done, len(self._x))

    def fail(self, part: Part, error: BaseException) -> None:
        """Take no more; of several errors that of the earliest samples is told."""
        with self._lock:
            if self._error is None or part.start < self._error[0].start:
                self._error = part, error

    def stop(self) -> None:
        """Take no more."""
        with self._lock:
            self._next = len(self._x)

    def result(self) -> Answer:
        """All answers in order.

        Raises:
            LibmpcError: as ``check``.
        """
        self.check()
        assert self._answer is not None
        return self._answer

    def check(self) -> None:
        """Whether all went well.

        Raises:
            LibmpcError: of the earliest batch that failed; names its samples.
        """
        if self._error is not None:
            part, error = self._error
            raise named(error, part) if isinstance(error, LibmpcError) else error


def named(error: LibmpcError, part: Part) -> LibmpcError:
    """The same error, which says of which samples it is (counted from 0)."""
    which = f"samples {part.start} to {part.stop - 1}"
    if part.stop - part.start == 1:
        which = f"sample {part.start}"
    text = f"{which}: {error}"
    if isinstance(error, ServiceError):
        return type(error)(text, status=error.status, retry_after=error.retry_after)
    return type(error)(text)


def _array(descriptor: Descriptor, x: object) -> NDArray[np.generic]:
    """``x`` as an array that can be cut along its first axis.

    Raises:
        InputError: it is none, or of another shape than the model takes.
    """
    array = x if isinstance(x, np.ndarray) else None
    try:
        array = np.asarray(x) if array is None else array
    except Exception:  # noqa: BLE001 - what it may be is told by the check of inputs
        array = None
    shape = descriptor.input_shape
    if array is None or array.shape[1:] != shape or not len(array):
        check_inputs(x, shape=shape, input_range=descriptor.input_range)  # says what is wrong
        raise InputError("the input is no array of samples")
    return array


def check_in_flight(count: int) -> None:
    """Check how many queries are to be under way at a time.

    Raises:
        ValueError: none.
    """
    if count < 1:
        raise ValueError("at least one query must be in flight")
