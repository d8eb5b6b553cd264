"""The whole test set of MNIST from the command line, and how long a command takes to start."""

from __future__ import annotations

import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import libmpc
from benchmarks.deployment import NAME, served
from benchmarks.networks import CNN
from benchmarks.rows import Options, Row
from libmpc import data

_IMAGES = 10_000


def command_line(options: Options) -> Iterator[Row]:
    """``libmpc query`` as a process, from its start to its end."""
    images, what = _digits(options)
    figures: dict[str, Any] = {"images": len(images), "which": what}
    with tempfile.TemporaryDirectory(prefix="libmpc-bench-") as folder:
        given, out = Path(folder, "images.npy"), Path(folder, "logits.npy")
        np.save(given, images)
        with libmpc.LocalCluster() as cluster, served(cluster, CNN) as subject:
            processes = subject.deployment.processes
            processes.reset_peaks()
            before = processes.cpu_seconds()
            begin = time.perf_counter()
            _run(
                *("query", NAME, str(given), "--out", str(out), "--timeout", "300"),
                *("--deployment", str(cluster.deployment)),
            )
            seconds = time.perf_counter() - begin
            used = processes.cpu_seconds()
            services = [name for name in used if name != "client"]
            figures["cpu_ms_per_image"] = {
                name: round(1e3 * (used[name] - before[name]) / len(images), 3) for name in services
            }
            held = processes.memory()
            figures["memory_mb"] = {name: held[name] for name in services}
        begin = time.perf_counter()
        expected = CNN.model.reference(images)
        figures["reference_seconds"] = round(time.perf_counter() - begin, 2)
        if not np.array_equal(np.load(out), expected):
            raise SystemExit("an answer from the command line differs from the reference")
    figures["images_per_second"] = round(len(images) / seconds, 1)
    title = f"{CNN.title}, libmpc query of {len(images):,} images ({what})"
    target = 30.0 if len(images) >= _IMAGES else None
    yield Row("query", title, seconds, "s", target, figures)
    yield Row("query", "libmpc --version, start to end", _start(), "ms")


def _digits(options: Options) -> tuple[NDArray[Any], str]:
    if options.images is not None:
        images = _read(Path(options.images))
        return images.reshape(-1, *CNN.model.input_shape), Path(options.images).name
    shipped, _ = data.digits()
    count = 1_000 if options.quick else _IMAGES
    return np.resize(shipped, (count, *shipped.shape[1:])), f"{len(shipped)} digits, repeated"


def _read(path: Path) -> NDArray[Any]:
    """Images from 0 to 1: of a .npy file, or of MNIST's own, such as t10k-images-idx3-ubyte.gz."""
    if path.suffix == ".npy":
        images: NDArray[Any] = np.load(path, allow_pickle=False)
    else:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images


def _run(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "libmpc", *arguments], check=True, stdout=subprocess.DEVNULL
    )


def _start() -> float:
    """Milliseconds, the least of five."""
    found = []
    for _ in range(5):
        begin = time.perf_counter()
        _run("--version")
        found.append(1e3 * (time.perf_counter() - begin))
    return min(found)


GROUPS = {"query": command_line}
