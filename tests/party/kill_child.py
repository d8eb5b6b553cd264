"""One operation on a party's data by a process of its own that kills itself at one step."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.party.storage import Fault, Organisation
from tests.party.store_operations import OPERATIONS

if __name__ == "__main__":
    made, directory, name, step, when = sys.argv[1:]
    party = Organisation.load(Path(made), Path(directory))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    OPERATIONS[name].run(party, Fault(when=when, kill=True), int(step))
    sys.stdout.write("done\n")
