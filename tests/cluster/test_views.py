"""What each of four real processes receives, stores and logs holds no input, output or weight."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import libmpc
from libmpc import data
from libmpc.fixedpoint import encode
from libmpc.graph.model import Model

TAP = Path(__file__).parent / "tap"


class Run:
    """A cluster that has answered, and what its processes received, stored and logged."""

    def __init__(self, home: Path, tap: Path) -> None:
        self.model: Model = libmpc.load_model(
            data.model_path("short-conv-mnist.h5"), input_range=(0, 1)
        )
        self.images = data.digits()[0][:16]
        with libmpc.LocalCluster(home) as cluster:
            cluster.share(self.model, "digits", serve=True)
            with libmpc.Client(cluster.deployment) as client:
                self.logits = np.concatenate([client.query("digits", x[None]) for x in self.images])
                batch = client.query("digits", self.images)
        assert np.array_equal(batch, self.logits)
        self.received = {p.name: p.read_bytes() for p in tap.iterdir()}
        self.kept = {
            str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()
        }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    tap = tmp_path_factory.mktemp("tap")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(TAP), prepend=":")
        patch.setenv("LIBMPC_TEST_TAP", str(tap))
        yield Run(tmp_path_factory.mktemp("cluster"), tap)


def packed(values: NDArray[np.uint64]) -> bytes:
    return b"".join(int(v).to_bytes(8, "little")[:6] for v in values.ravel())


def needles(run: Run) -> dict[str, list[bytes]]:
    """Byte strings of 12 or more that would be there if something travelled or lay in clear."""
    pixels = [encode(image).ravel() for image in run.images]
    # Three neighbours with ink: 18 bytes that a random stream does not hit by chance.
    inked = [p[i : i + 3] for p in pixels for i in np.flatnonzero(p)[10:200:7]]
    weights = [np.concatenate([w.ravel(), b]) for w, b in run.model.weights.values()]
    rows = [w[i : i + 3] for w in weights for i in range(0, len(w) - 3, 13)]
    encoded = [encode(row, 32) for row in run.logits]
    answers = [r[i : i + 2] for r in encoded for i in range(9)]
    floats = [row[i : i + 2].tobytes() for row in run.logits for i in range(9)]
    found = {
        "input": [packed(v) for v in inked if np.count_nonzero(v) == 3],
        "input in 8 bytes": [v.tobytes() for v in inked if np.count_nonzero(v) == 3],
        "weight": [packed(r) for r in rows],
        "weight in 8 bytes": [r.tobytes() for r in rows],
        "output": [packed(r) for r in answers],
        "output as float": floats,
    }
    assert all(len(texts) >= 100 and min(map(len, texts)) >= 12 for texts in found.values())
    return found


class Search:
    """Looks for all needles at once: a table of hashes of their first eight bytes, then each."""

    def __init__(self, needles: dict[str, list[bytes]]) -> None:
        # One that begins with zeros would be compared at every zero of a database's pages.
        pairs = [(what, text) for what, texts in needles.items() for text in texts]
        self._by_start: dict[bytes, list[tuple[str, bytes]]] = {}
        for what, text in pairs:
            if len(set(text[:8])) > 2:
                self._by_start.setdefault(text[:8], []).append((what, text))
        assert {what for them in self._by_start.values() for what, _ in them} == set(needles)
        starts = [int.from_bytes(start, "little") for start in self._by_start]
        self._table = np.zeros(1 << 24, bool)
        self._table[self._hash(np.array(starts, np.uint64))] = True

    @staticmethod
    def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (values * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)

    def find(self, content: bytes) -> set[str]:
        """What of it is in ``content``."""
        found: set[str] = set()
        if len(content) < 8:
            return found
        windows = sliding_window_view(np.frombuffer(content, np.uint8), 8)
        for begin in range(0, len(windows), 1 << 20):
            part = np.ascontiguousarray(windows[begin : begin + (1 << 20)]).view(np.uint64)
            for at in np.flatnonzero(self._table[self._hash(part.ravel())]):
                here = content[begin + at : begin + at + 64]
                candidates = self._by_start.get(here[:8], ())
                found |= {what for what, text in candidates if here.startswith(text)}
        return found


@pytest.fixture(scope="module")
def search(run: Run) -> Search:
    return Search(needles(run))


def test_the_search_finds_what_is_in_clear(run: Run, search: Search) -> None:
    noise = bytes(range(251)) * 5000
    assert search.find(noise) == set()
    clear = packed(encode(run.images[3]))
    assert search.find(noise + clear + noise) == {"input"}
    for weights, _ in run.model.weights.values():
        assert "weight" in search.find(noise + packed(weights))
    assert search.find(b"." + run.logits.tobytes()) == {"output as float"}


def test_received_frames_hold_nothing_in_clear(run: Run, search: Search) -> None:
    links = {re.sub(r"-\d+\.bin$", "", name) for name in run.received}
    parties = {f"{a}-from-{b}" for a in range(3) for b in range(3) if a != b}
    assert parties | {f"{a}-from-255" for a in range(3)} <= links
    assert {f"255-from-{a}" for a in range(3)} <= links
    assert sum(map(len, run.received.values())) > 3_000_000
    for name, content in run.received.items():
        assert search.find(content) == set(), name


def test_the_dealer_receives_nothing_but_orders_and_models(run: Run) -> None:
    for name, content in run.received.items():
        if name.startswith("2-from-0"):
            # An order has about 100 bytes, and names a bundle, a model and a batch size.
            assert len(content) < 100_000
        if name.startswith("2-from-1"):
            assert len(content) < 5_000


def test_stored_files_and_logs_hold_nothing_in_clear(run: Run, search: Search) -> None:
    assert any(name.startswith("party1") and name.endswith(".sealed") for name in run.kept)
    assert any("log" in name for name in run.kept)
    for name, content in run.kept.items():
        assert search.find(content) == set(), name
    # As a program would print them.
    values = {f"{x:.6f}"[:8] for x in run.logits.ravel()[:50]}
    logs = [c.decode(errors="replace") for n, c in run.kept.items() if "log" in n]
    assert not any(value in text for value in values for text in logs)
