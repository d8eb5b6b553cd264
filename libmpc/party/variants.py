"""What a bundle and a run are for: a model, and what it is to answer with.

A *variant* is named by the model's digest in hex, and for another output than the logits a colon
and the output's text behind it. Bundles of one variant cannot be spent on another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from libmpc.errors import InputError, ModelError
from libmpc.graph.plan import Plan
from libmpc.graph.tail import with_output
from libmpc.outputs import OutputKind, allows, parse
from libmpc.party.entry import Entry

MAX_KEPT = 64
#: outputs beside the models' own ones that bundles are kept ready for
MAX_WANTED = 4


def variant_name(model: str, kind: OutputKind) -> str:
    """The name of a model's variant."""
    return model if kind.name == "logits" else f"{model}:{kind}"


def model_of(name: str) -> str:
    """The model's digest in a variant's name."""
    return name.partition(":")[0]


def variant_bytes(name: str) -> bytes:
    """The name as it enters a key: the digest's 32 bytes, then the output's text, if any."""
    model, _, output = name.partition(":")
    return bytes.fromhex(model) + output.encode()


class Variants:
    """Entries of variants, whose plans are derived once."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    def find(self, entries: Mapping[str, Entry], name: str) -> Entry | None:
        """The entry that a variant's name stands for; ``None`` if the model is not stored, does not
        have such an output, or its owner does not allow that.
        """
        model, _, output = name.partition(":")
        entry = entries.get(model)
        if entry is None or not output:
            return entry
        try:
            kind = parse(output)
            # What is allowed is not much, and so is what is kept of variants, by name.
            if not allows(parse(entry.manifest.output), kind):
                return None
            return self.answering(entry, kind)
        except (InputError, ModelError):
            return None

    def answering(self, entry: Entry, kind: OutputKind) -> Entry:
        """The same model, answering with something else.

        Raises:
            ModelError: its logits do not allow that.
        """
        if kind.name == "logits":
            return entry
        name = variant_name(entry.record.model, kind)
        plan = self._plans.get(name)
        if plan is None:
            plan = self._plans[name] = with_output(entry.plan, kind)
            if len(self._plans) > MAX_KEPT:
                self._plans.popitem(last=False)
        self._plans.move_to_end(name)
        return replace(entry, plan=plan, variant=name)


class Wanted:
    """The variants that were asked for of late, a few."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._names))

    def ask(self, name: str) -> None:
        """Remember one; the one that was asked for longest ago may go."""
        self._names[name] = None
        self._names.move_to_end(name)
        if len(self._names) > MAX_WANTED:
            self._names.popitem(last=False)
