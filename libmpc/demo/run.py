"""The demonstration: start, share, ask, compare, and show who saw what."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from libmpc import data, fixedpoint
from libmpc.client import Client
from libmpc.cluster.local import LocalCluster
from libmpc.demo.pictures import Image, picture, side_by_side
from libmpc.demo.traffic import Count, Counts, Recorder, difference, party_counts
from libmpc.errors import LibmpcError
from libmpc.graph.model import Model, load_model
from libmpc.shares import split

NAME = "mnist"
FILE = "short-conv-mnist.h5"
LEAST_RIGHT = 0.9

Say = Callable[[str], None]


@dataclass(frozen=True)
class Answer:
    """One digit's answer and how it was got."""

    label: int
    predicted: int
    exact: bool
    milliseconds: float

    @property
    def caption(self) -> list[str]:
        """Two lines below the picture."""
        mark = "" if self.label == self.predicted else " WRONG"
        exact = "exact" if self.exact else "NOT EXACT"
        return [
            f"{self.label} -> {self.predicted}{mark}",
            f"{exact}, {self.milliseconds:.0f} ms",
        ]


def run(count: int, directory: Path | None, say: Say) -> None:
    """Run the demonstration.

    Args:
        count: how many digits to classify.
        directory: for keys, shares and logs; ``None``: a temporary one.
        say: prints a line.

    Raises:
        LibmpcError: something did not work, or an answer differs from the reference.
    """
    images, labels = data.digits()
    images, labels = images[:count], labels[:count]
    model = load_model(data.model_path(FILE), (0, 1))
    begin = time.monotonic()
    say("Starting three parties and a gateway, each as a process of its own ...")
    with LocalCluster(directory) as cluster:
        running = ", ".join(f"{name} (process {pid})" for name, pid in cluster.processes.items())
        say(f"  {running}")
        say(f"Sharing {FILE} among the parties: none of them can read a weight ...")
        cluster.share(model, NAME, replace=True, serve=True)
        say(f"Asking for {count} real digits, one query each. Label -> predicted; exact: the same")
        say("bits as the plaintext fixed-point reference.\n")
        recorder = Recorder(cluster.deployment)
        with Client(cluster.deployment, transport=recorder) as client:
            client.query(NAME, images[:1])  # connects, and fetches the parties' keys
            answers = _ask(client, model, images, labels)
            before = party_counts(cluster.directory)
            client.query(NAME, images[:1])
            sent = difference(before, party_counts(cluster.directory))
        _show_digits(images, answers, say)
        _show_views(images[0], recorder, sent, say)
    say(f"\nStopped. All of it took {time.monotonic() - begin:.0f} s.")
    _check(answers)


def _ask(
    client: Client, model: Model, images: NDArray[np.float32], labels: NDArray[np.int64]
) -> list[Answer]:
    answers = []
    expected = model.reference(images)
    for image, label, reference in zip(images, labels, expected, strict=True):
        begin = time.monotonic()
        logits = client.query(NAME, image[np.newaxis])[0]
        milliseconds = 1000 * (time.monotonic() - begin)
        exact = np.array_equal(logits, reference)
        answers.append(Answer(int(label), int(logits.argmax()), exact, milliseconds))
    return answers


def _check(answers: list[Answer]) -> None:
    if not all(answer.exact for answer in answers):
        raise LibmpcError("an answer differs from the reference: please report this as a bug")
    right = sum(answer.label == answer.predicted for answer in answers)
    if right < LEAST_RIGHT * len(answers):
        raise LibmpcError(f"only {right} of {len(answers)} digits are right; something is wrong")


def _show_digits(images: NDArray[np.float32], answers: list[Answer], say: Say) -> None:
    width, gap = 14, 3
    each = max(1, (shutil.get_terminal_size().columns + gap) // (width + gap))
    tiles = [
        picture(image[..., 0].astype(np.float64), 7, width) + answer.caption
        for image, answer in zip(images, answers, strict=True)
    ]
    for start in range(0, len(tiles), each):
        say("\n".join(side_by_side(tiles[start : start + each], width + 2, gap - 2)) + "\n")
    right = sum(answer.label == answer.predicted for answer in answers)
    exact = sum(answer.exact for answer in answers)
    middle = float(np.median([answer.milliseconds for answer in answers]))
    total = len(answers)
    say(f"{right} of {total} right, {exact} of {total} exact, median {middle:.1f} ms a query.\n")


def _show_views(image: NDArray[np.float32], recorder: Recorder, sent: Counts, say: Say) -> None:
    say("Who saw what of the first digit. (A query's shares exist only inside envelopes that are")
    say("sealed, and inside the parties. These were made in the same way, by a fresh split.)\n")
    first, second = split(fixedpoint.encode(image[..., 0]))
    views: list[Image] = [image[..., 0].astype(np.float64)]
    views += [np.ldexp(share.values.astype(np.float64), -48) for share in (first, second)]
    titles = ["the client: the digit", "party 0: noise", "party 1: noise"]
    blocks = [[title, *picture(view, 14, 28)] for title, view in zip(titles, views, strict=True)]
    say("\n".join(side_by_side(blocks, 28)))
    say("\nthe gateway: two sealed envelopes, and nothing that opens them")
    for party, envelope in enumerate(recorder.envelopes):
        start = envelope[:24].hex(" ", 4)
        say(f"  for party {party}: {start} ... {len(envelope):,} bytes")
    say(f"  back: two sealed replies, {recorder.reply_bytes:,} bytes in all")
    say("\nbetween the parties, around this one query, as the receivers counted it:")
    zero, one = sent.get((1, 0), Count()), sent.get((0, 1), Count())
    say(f"  party 0 to party 1: {_text(one)}, every value under a mask")
    say(f"  party 1 to party 0: {_text(zero)}, every value under a mask")
    orders = sent.get((0, 2), Count()) + sent.get((1, 2), Count())
    masks = sent.get((2, 0), Count()) + sent.get((2, 1), Count())
    say(f"  to party 2:         {_text(orders)}, an order for new masks; no query gets there")
    say(f"  from party 2:       {_text(masks)}, masks for later queries")


def _text(count: Count) -> str:
    return f"{count.messages:>2} message(s), {count.size:>7,} bytes"
