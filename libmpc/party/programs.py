"""Networks made ready to be run, one program for each output and batch size."""

from __future__ import annotations

from collections.abc import Collection

from libmpc.party.entry import Entry
from libmpc.party.pool import PoolKey
from libmpc.party.variants import model_of
from libmpc.protocol import EvaluatorWeights
from libmpc.runtime import Program


class Programs:
    """An evaluator's programs; made when they are first needed."""

    def __init__(self) -> None:
        self._programs: dict[PoolKey, Program] = {}

    def of(self, entry: Entry, weights: EvaluatorWeights, rung: int) -> Program:
        """The program of a model for a batch size."""
        key = (entry.variant, rung)
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = Program(entry.plan, weights, rung)
        return program

    def forget(self, stored: Collection[str]) -> None:
        """Drop those of models that are not stored any more."""
        self._programs = {k: p for k, p in self._programs.items() if model_of(k[0]) in stored}
