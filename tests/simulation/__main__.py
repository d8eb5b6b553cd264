"""``python -m tests.simulation``: run schedules, or one again by its seed."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.many import run_many


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--schedules", type=int, default=1, help="how many, one seed after the other"
    )
    parser.add_argument("--trace", action="store_true", help="show what happened, failed or not")
    parser.add_argument("--workers", type=int, help="processes; as many as processors, if several")
    given = parser.parse_args()
    began, failed = time.perf_counter(), 0
    answers = refusals = orders = 0
    workers = 1 if given.schedules == 1 else given.workers
    for outcome in run_many(range(given.seed, given.seed + given.schedules), workers):
        answers, orders = answers + outcome.answers, orders + outcome.orders
        refusals += outcome.refusals
        if given.trace or (outcome.violation and given.schedules == 1):
            print("\n".join(outcome.trace))
        if outcome.violation:
            failed += 1
            print(f"seed {outcome.seed}: {outcome.violation}", flush=True)
    seconds = time.perf_counter() - began
    print(
        f"{given.schedules} schedules in {seconds:.1f} s, {failed} failed;"
        f" {answers} answers, {refusals} refusals, {orders} orders carried out"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
