"""One line of the table: what was measured, against its target, and everything seen beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from benchmarks.deployment import Subject
from libmpc.client.measuring import Measurement
from libmpc.runtime import plan_cost

Unit = Literal["ms", "images/s", "s", "MB", "×"]
_MORE_IS_BETTER = ("images/s", "×")


@dataclass
class Row:
    """A figure with its target.

    Attributes:
        name: what ``--only`` calls its group.
        title: for people.
        value: the figure that the target is about.
        target: the most it may be, or for rates and ratios the least; ``None``: there is none.
        figures: everything else, as in the JSON document.
    """

    name: str
    title: str
    value: float
    unit: Unit
    target: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the target is reached."""
        if self.target is None:
            return None
        return self.value >= self.target if self.more_is_better else self.value <= self.target

    @property
    def more_is_better(self) -> bool:
        return self.unit in _MORE_IS_BETTER

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "met": self.met}


@dataclass(frozen=True)
class Options:
    """What the command line asks for.

    Attributes:
        quick: fewer queries and shorter windows, for a first look.
        images: a file of digits for the query of 10,000; by default the shipped ones, repeated.
        plots: a folder for pictures of how cost grows.
    """

    quick: bool = False
    images: str | None = None
    plots: str | None = None


Group = Callable[[Options], Iterator[Row]]
Done = Callable[[Measurement], None]


@contextmanager
def accounted(subject: Subject, figures: dict[str, Any], warm_up: int = 0) -> Iterator[Done]:
    """Note what the services need while the block lasts.

    The block calls what it is given with what it has measured. Memory: the peak within the block.

    Args:
        warm_up: queries of each client in the block that were not measured.
    """
    deployment = subject.deployment
    measured: list[Measurement] = []
    processes = deployment.processes
    processes.reset_peaks()
    sent, cpu = deployment.sent(), processes.cpu_seconds()
    yield measured.append
    after = processes.cpu_seconds()
    (found,) = measured
    images = found.batch * (found.queries + warm_up * found.concurrency)
    figures["cpu_ms_per_image"] = {
        name: round(1e3 * (after[name] - cpu[name]) / images, 3) for name in after if name in cpu
    }
    figures["sent_bytes_per_image"] = {
        link: round((total - sent.get(link, 0)) / images)
        for link, total in deployment.sent().items()
    }
    figures["memory_mb"] = processes.memory()
    figures.update(_of(subject, found))


def _of(subject: Subject, found: Measurement) -> dict[str, Any]:
    plain = subject.plaintext_seconds(found.batch)
    cost = plan_cost(subject.network.model.plan, found.batch)
    return {
        "network": subject.network.title,
        "batch": found.batch,
        "clients": found.concurrency,
        "queries": found.queries,
        "seconds": round(found.seconds, 3),
        "median_ms": round(1e3 * found.median, 3),
        "p99_ms": round(1e3 * found.quantile(0.99), 3),
        "images_per_second": round(found.samples_per_second, 1),
        "plaintext_ms": round(1e3 * plain, 4),
        "times_plaintext": round(found.seconds / found.queries / plain, 1)
        if found.concurrency > 1 or found.batch > 1
        else round(found.median / plain, 1),
        "rounds": cost.rounds,
        "declared_bytes_each_way": cost.online_bytes,
        "declared_preprocessing_bytes": cost.correction_bytes,
    }
