"""``python -m libmpc.data [FOLDER]``: copy the shipped models and digits to a folder."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from libmpc.data import FILES, folder


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m libmpc.data", description="Copy the shipped models and digits to a folder."
    )
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    target: Path = parser.parse_args().folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            _copy(folder() / name, target / name)
    except OSError as error:
        raise SystemExit(f"cannot copy to {target}: {error}") from error


def _copy(source: Path, target: Path) -> None:
    """Copy unless it is there already; never overwrite a file that somebody else made."""
    if target.exists():
        if target.read_bytes() != source.read_bytes():
            raise SystemExit(f"{target} is there already and differs: move it away first")
        return
    shutil.copyfile(source, target)
    print(target)


if __name__ == "__main__":
    main()
