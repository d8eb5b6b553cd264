"""The long tier: ``python -m tests.fuzz --seconds 300`` tries every parser in turn."""

from __future__ import annotations

import argparse
import base64
import json
import logging
import sys
import time
from dataclasses import asdict

from tests.fuzz import targets_gateway
from tests.fuzz.harness import Tally, Trial
from tests.fuzz.targets import all_targets

HEAD = (
    f"{'parser':<30}{'inputs':>9}{'accepted':>9}{'refused':>9}{'slowest':>10}{'memory':>10}"
    f"{'answers':>8}{'found':>6}"
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="for all parsers together")
    parser.add_argument("--seed", type=int, help="of the mutations; the time of day unless given")
    parser.add_argument("--only", default="", help="parsers whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    targets = [target for target in all_targets() if options.only in target.name]
    tallies: dict[str, Tally] = {}
    if not options.json:
        print(HEAD)
    for target in targets:
        trial = Trial(target, seed)
        trial.run(options.seconds / len(targets))
        tallies[target.name] = trial.tally
        if not options.json:
            print(row(target.name, trial.tally), flush=True)
    targets_gateway.close()
    if options.json:
        print(json.dumps({"seed": seed, "parsers": {k: _plain(v) for k, v in tallies.items()}}))
    findings = [f for tally in tallies.values() for f in tally.findings.values()]
    if not options.json:
        tried = sum(tally.tried for tally in tallies.values())
        print(f"\n{tried} inputs, {len(tallies)} parsers, {len(findings)} findings, seed {seed}")
    for finding in findings:
        text = base64.b64encode(finding.data[:4096]).decode()
        print(
            f"\nFOUND {finding.what}\n  input ({len(finding.data)} bytes): {text}", file=sys.stderr
        )
    return 1 if findings else 0


def row(name: str, tally: Tally) -> str:
    """One line of the table."""
    return (
        f"{name:<30}{tally.tried:>9}{tally.accepted:>9}{tally.refused:>9}"
        f"{tally.slowest * 1e3:>7.0f} ms{tally.peak >> 10:>6} KiB"
        f"{tally.answers:>8}{len(tally.findings):>6}"
    )


def _plain(tally: Tally) -> dict[str, object]:
    fields = asdict(tally)
    fields["findings"] = [
        {"what": f.what, "input": base64.b64encode(f.data).decode()}
        for f in tally.findings.values()
    ]
    return fields


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # refusals by the million
    sys.exit(main())
