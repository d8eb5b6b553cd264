"""``python -m benchmarks``: measure everything that has a target, and compare."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from benchmarks import (
    commandline,
    evaluation,
    far,
    growth,
    machine,
    matmul,
    report,
    serving,
    startup,
    triples,
)
from benchmarks.rows import Group, Options, Row

GROUPS: dict[str, Group] = {
    **serving.GROUPS,
    **commandline.GROUPS,
    **evaluation.GROUPS,
    **far.GROUPS,
    **matmul.GROUPS,
    **startup.GROUPS,
    **growth.GROUPS,
    **triples.GROUPS,
}
_NOT_QUICK = ("far", "growth", "triples")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure a local deployment as its clients see it, next to the targets. "
        "Every answer is compared with the reference. Linux only; keep the machine idle.",
    )
    parser.add_argument(
        "--only", nargs="+", choices=GROUPS, metavar="NAME", help=f"some of: {', '.join(GROUPS)}"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"two minutes: shorter windows, without {', '.join(_NOT_QUICK)}",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything measured")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    parser.add_argument(
        "--images",
        metavar="FILE",
        help="digits to query from the command line: .npy, or MNIST's t10k-images-idx3-ubyte.gz",
    )
    parser.add_argument("--plots", metavar="DIR", help="write pictures of how cost grows")
    given = parser.parse_args()
    options = Options(quick=given.quick, images=given.images, plots=given.plots)
    names = given.only or [n for n in GROUPS if not (given.quick and n in _NOT_QUICK)]
    found, rows = machine.describe(), _measure(names, options)
    if given.json is not None:
        given.json.write_text(json.dumps(report.document(found, rows), indent=1) + "\n")
    print((report.markdown if given.markdown else report.text)(found, rows))


def _measure(names: list[str], options: Options) -> list[Row]:
    rows = []
    for name in names:
        begin = time.monotonic()
        for row in GROUPS[name](options):
            rows.append(row)
            line = f"{row.title}: {row.value:.4g} {row.unit}"
            print(f"{line} ({time.monotonic() - begin:.0f} s)", file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    main()
