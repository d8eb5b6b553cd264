"""Take out of an installation what the import rules forbid to the gateway.

usage: prune.py PYPROJECT SITE_PACKAGES
"""

import shutil
import sys
import tomllib
from pathlib import Path

CONTRACT = "the gateway has no code that could read what it relays"
# Not reached from the gateway, and of no use without what is taken out.
ALSO = {
    "libmpc.data",
    "libmpc.demo",
    "libmpc.fixedpoint",
    "libmpc.inputs",
    "libmpc.simulation",
}
# Of these packages, only these modules.
ONLY = {
    "libmpc.party": ("__init__", "framing", "messages"),
    "libmpc.cluster": ("__init__", "lifeline"),
}


def main(pyproject: Path, site: Path) -> None:
    """Remove the modules; fails when a rule or a module is not where it was."""
    rules = tomllib.loads(pyproject.read_text())["tool"]["importlinter"]["contracts"]
    (rule,) = (rule for rule in rules if rule["name"] == CONTRACT)
    for name in ALSO.union(rule["forbidden_modules"]) - ONLY.keys():
        _remove(site.joinpath(*name.split(".")))
    for name, modules in ONLY.items():
        for path in site.joinpath(*name.split(".")).iterdir():
            if path.stem not in modules:
                _remove(path.with_suffix(""))


def _remove(path: Path) -> None:
    source = path.with_suffix(".py")
    if path.is_dir():
        shutil.rmtree(path)
    elif source.exists():
        source.unlink()
    else:
        sys.exit(f"there is no {path}, which is to be taken out")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
