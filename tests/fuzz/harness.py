"""What every parser of a stranger's bytes promises, and how it is put to the test.

A parser takes bytes and gives a value, or raises one of the errors that it documents: within a
second, within bounded memory, and never a value that the bytes do not say.
"""

from __future__ import annotations

import random
import re
import traceback
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic, process_time

from tests.fuzz.mutate import Join, Sample, mutant

MIB = 1 << 20


def whole(parts: list[bytes]) -> bytes:
    """Samples of one part, or of parts that follow each other without lengths."""
    return b"".join(parts)


class WrongError(AssertionError):
    """A parser accepted what it must not, or took it for something else."""


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes:
        samples: genuine messages, by parts; all of them are accepted.
        parse: reads one; raises one of ``errors``, or ``WrongError`` by its own checks.
        errors: what it documents.
        join: puts parts together.
        tokens: words of its language.
        seconds: the most processor time that one input may take.
        memory: the most that one input may allocate, in bytes.
        genuine: whether the samples themselves must be accepted.
        longest: input that is tried, in bytes.
    """

    name: str
    samples: Sequence[Sample]
    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    join: Join = whole
    tokens: Sequence[bytes] = ()
    seconds: float = 1.0
    memory: int = 16 * MIB
    genuine: bool = True
    longest: int = 1 << 18


@dataclass(frozen=True)
class Finding:
    """An input that broke the promise."""

    what: str
    data: bytes = field(repr=False)


@dataclass
class Tally:
    """What has been tried on one parser."""

    tried: int = 0
    accepted: int = 0
    refused: int = 0
    answers: int = 0
    slowest: float = 0.0
    peak: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)


class Trial:
    """Feeds one parser with mutants; what gives a new answer is a sample from then on.

    Args:
        watch: every how many inputs memory is traced, which costs time; long ones always are.
    """

    def __init__(self, target: Target, seed: int, watch: int = 8) -> None:
        self.tally = Tally()
        self._target = target
        self._rng = random.Random(f"{target.name} {seed}")
        self._samples = list(target.samples)
        self._watch = watch
        self._known: set[str] = set()
        for sample in target.samples:
            parts = [p if isinstance(p, bytes) else _spelled(p) for p in sample]
            outcome = self._one(target.join(parts))
            if target.genuine and outcome != "accepted":
                raise AssertionError(f"{target.name}: a genuine message was refused: {outcome}")

    def step(self) -> None:
        """Try one input."""
        data = mutant(self._rng, self._samples, self._target.join, self._target.tokens)
        data = data[: self._target.longest]
        answer = self._one(data)
        if answer not in self._known and len(self._samples) < 400:
            self._known.add(answer)
            # Only whole inputs can be kept; their parts are not known any more.
            if self._target.join is whole and len(data) < 8192:
                self._samples.append([data])

    def run(self, seconds: float) -> None:
        """Try inputs for so long."""
        end = monotonic() + seconds
        while monotonic() < end:
            self.step()

    def _one(self, data: bytes) -> str:
        target, tally = self._target, self.tally
        traced = tally.tried % self._watch == 0 or len(data) > 1 << 16
        tally.tried += 1
        if traced:
            tracemalloc.start()
        began = process_time()
        try:
            target.parse(data)
        except target.errors as error:
            tally.refused += 1
            answer = re.sub(r"[0-9]+", "0", f"{type(error).__name__}: {error}")[:200]
        except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001, that is the test
            answer = "".join(traceback.format_exception_only(error))[:300]
            at = traceback.extract_tb(error.__traceback__)[-1]
            self._found(f"{type(error).__name__} at {at.name}:{at.lineno}", answer, data)
        else:
            tally.accepted += 1
            answer = "accepted"
        took = process_time() - began
        if traced:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            tally.peak = max(tally.peak, peak)
            if peak > target.memory:
                self._found("memory", f"{peak / MIB:.0f} MiB for {len(data)} bytes", data)
        tally.slowest = max(tally.slowest, took)
        if took > target.seconds * (4 if traced else 1):  # tracing takes its time
            self._found("time", f"{took:.1f} s for {len(data)} bytes", data)
        tally.answers = len(self._known)
        return answer

    def _found(self, kind: str, what: str, data: bytes) -> None:
        best = self.tally.findings.get(kind)
        if best is None or len(data) < len(best.data):
            self.tally.findings[kind] = Finding(f"{self._target.name}: {kind}: {what}", data)


def _spelled(part: object) -> bytes:
    from tests.fuzz.mutate import spell_plain

    return spell_plain(part)  # type: ignore[arg-type]
