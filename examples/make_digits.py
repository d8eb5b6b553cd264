"""Write the test digits that ship with libmpc: ``digits.npy`` and ``labels.npy``.

    python examples/make_digits.py --mnist DIR --out FOLDER

They are the first 256 of MNIST's test set, in the original order: nothing was picked by hand, so
the few that a network gets wrong are among them. Every run gives the same two files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mnist_files
import numpy as np

COUNT = 256


def main() -> None:
    parser = argparse.ArgumentParser(description="Write 256 test digits and their labels.")
    mnist_files.add_mnist_option(parser)
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER")
    options = parser.parse_args()

    images, labels = mnist_files.load(options.mnist, "t10k")
    options.out.mkdir(parents=True, exist_ok=True)
    np.save(options.out / "digits.npy", images[:COUNT], allow_pickle=False)
    np.save(options.out / "labels.npy", labels[:COUNT], allow_pickle=False)
    print(f"{COUNT} digits of shape {images.shape[1:]} saved in {options.out}")


if __name__ == "__main__":
    main()
