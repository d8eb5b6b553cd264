"""Read the four original files of the MNIST database; shared by the scripts in this folder."""

from __future__ import annotations

import argparse
import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

WHERE = """\
The four files of MNIST, as their authors published them, are needed in one folder:
    train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz
    t10k-images-idx3-ubyte.gz   t10k-labels-idx1-ubyte.gz
Get them from https://storage.googleapis.com/cvdf-datasets/mnist/
or from https://ossci-datasets.s3.amazonaws.com/mnist/, for instance with
    curl --remote-name https://storage.googleapis.com/cvdf-datasets/mnist/FILE"""


def add_mnist_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--mnist DIR``, and where the files come from to the help text."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = WHERE
    parser.add_argument(
        "--mnist", type=Path, required=True, metavar="DIR", help="folder with the four .gz files"
    )


def load(folder: Path, part: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return one part of MNIST.

    Args:
        folder: where the four files are.
        part: ``"train"`` (60,000 digits) or ``"t10k"`` (the test set, 10,000 digits).

    Returns:
        Images, float32 of shape (n, 28, 28, 1), each value k/255 for a whole k from 0 to 255;
        labels, int64 of shape (n,), from 0 to 9.

    Raises:
        SystemExit: a file is missing or is not what it should be; says where to get it.
    """
    pixels = _read_idx(folder / f"{part}-images-idx3-ubyte.gz", dimensions=3)
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz", dimensions=1)
    if pixels.shape != (labels.size, 28, 28):
        raise SystemExit(f"{folder}: {part} has {pixels.shape} pixels for {labels.size} labels")
    images = pixels[..., np.newaxis].astype(np.float32) / np.float32(255)
    return images, labels.astype(np.int64)


def digits(folder: Path | None) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """MNIST's training digits; without a folder the few that ship with libmpc. See ``load``."""
    if folder is not None:
        return load(folder, "train")
    from libmpc import data

    images, labels = data.digits()
    return images.astype(np.float32), labels.astype(np.int64)


def _read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """IDX: 0, 0, type (8: unsigned byte), number of dimensions, each as big-endian u32, data."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise SystemExit(f"{path}: {error}\n\n{WHERE}") from error
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, 8, dimensions)):
        raise SystemExit(f"{path}: not an IDX file of bytes\n\n{WHERE}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    values = np.frombuffer(content, dtype=np.uint8, offset=header)
    if values.size != int(np.prod(shape)):
        raise SystemExit(f"{path}: {values.size} bytes where {shape} were announced\n\n{WHERE}")
    return values.reshape(shape)
