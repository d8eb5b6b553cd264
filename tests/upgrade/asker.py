"""A client that asks without pause; run as a program by any build, it imports nothing of tests.

Usage: ``asker.py DEPLOYMENT MODEL INPUTS EXPECTED RETRIES``. Prints one JSON line for each call:
when it began and ended (monotonic, seconds) and what came of it: "right", "wrong", a status, or an
error's name. Ends when its standard input does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

import libmpc

PAUSE = 0.1


def main() -> None:
    deployment, model, inputs, expected, retries = sys.argv[1:]
    x, right = np.load(inputs), np.load(expected)
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    policy = libmpc.RetryPolicy(retries=int(retries))
    with libmpc.Client(Path(deployment), retries=policy, timeout=60.0) as client:
        at = 0
        while not ended.is_set():
            rows = slice(at, at + 4)
            at = (at + 4) % (len(x) - 3)
            begin = time.monotonic()
            try:
                answer = client.query(model, x[rows])
                what, text = ("right" if np.array_equal(answer, right[rows]) else "wrong"), ""
            except libmpc.UnavailableError as error:
                # Without a status nobody has answered: only a gateway's own restart may do that.
                what, text = "503" if error.status == 503 else f"{error.status}", str(error)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be reported
                what, text = type(error).__name__, str(error)
            line = {"begin": begin, "end": time.monotonic(), "what": what, "text": text}
            print(json.dumps(line), flush=True)
            if what not in ("right", "wrong"):
                ended.wait(PAUSE)


if __name__ == "__main__":
    main()
