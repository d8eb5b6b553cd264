"""Makes ``vectors.json``, a case of each step: ``python -m tests.protocol.make_vectors``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.protocol.book_words import M48, OPENING, draw, numbers, packed
from tests.protocol.by_the_book import run

CASES = {
    "relu": [2**47, -(2**47) + 2**16, 0, 65535, 65536, -1, -65536, 5 << 32, -(7 << 32) - 1],
    "truncate": [2**46, -(2**46), 0, 65535, 65536, -1, -65536, 5 << 32, -(7 << 32) - 1],
    "rectify": [2**31, -(2**31) + 1, 0, 1, -1, 65536, -65536, 5 << 16, -(7 << 16) - 1],
    "positive": [2**31, -(2**31) + 1, 0, 1, -1, 65536, -65536, 5 << 16, -(7 << 16) - 1],
}
EXPECTED: dict[str, Callable[[int], int]] = {
    "relu": lambda z: max(z >> 16, 0),
    "truncate": lambda z: z >> 16,
    "rectify": lambda x: max(x, 0),
    "positive": lambda x: 2**16 * (x >= 1),
}


def vector(kind: str) -> dict[str, Any]:
    """One case, as it is written to the file; ring elements in six bytes, bytes in hex."""
    step, keys = 3, (bytes(range(16)), bytes(range(16, 32)))
    values = CASES[kind]
    noise = numbers(draw(bytes(16), 0, 0, 16 * len(values)), 8)
    lam = [0, M48, *noise][: len(values)]
    first: list[int] = []
    second: list[int] = []
    gammas = [numbers(draw(key, step, OPENING, 8 * len(values)), 8) for key in keys]
    for i, value in enumerate(values):
        share = noise[len(values) + i]
        if kind in ("relu", "truncate"):
            missing = gammas[0][i] + gammas[1][i] - lam[i]
            first += [share & M48, (value - missing - share) & M48]
            second.append(missing & M48)
        else:
            first += [share & M48, (lam[i] - share) & M48]
            second.append((value + lam[i]) & M48)
    done = run(kind, step, keys, first, second)
    results = [(m - mask) & M48 for m, mask in zip(done.opened, done.mask, strict=True)]
    assert results == [EXPECTED[kind](value) & M48 for value in values]
    shares = ("share0", "share1", "missing") if kind in ("relu", "truncate") else ()
    return {
        "kind": kind,
        "step": step,
        "keys": [key.hex() for key in keys],
        "values": values,
        "inputs": {
            name: packed(part).hex()
            for name, part in zip(
                shares or ("mask0", "mask1", "masked"),
                (first[0::2], first[1::2], second),
                strict=True,
            )
        },
        "correction": done.correction.hex(),
        "messages": [[message.hex() for message in sent] for sent in done.messages],
        "results": [EXPECTED[kind](value) for value in values],
    }


if __name__ == "__main__":
    target = Path(__file__).with_name("vectors.json")
    target.write_text(json.dumps([vector(kind) for kind in CASES], indent=1) + "\n")
