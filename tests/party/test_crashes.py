"""A party that ends at any moment: what was acknowledged is there, what was not has no trace."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from libmpc.deployment_local import make_all
from libmpc.errors import LibmpcError
from tests.party import kill_child
from tests.party.storage import Crash, Fault, Organisation
from tests.party.store_operations import NEW_KEYS, OPERATIONS, first
from tests.party.triple import PORTS

#: what can be seen of a state is the same before and after
SILENT = {"start", "migrate", "rotate"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    make_all(directory, PORTS)
    return directory


def _base(made: Path, directory: Path, name: str) -> Organisation:
    party = Organisation.load(made, directory / "base")
    OPERATIONS[name].before(party)
    party.keys = OPERATIONS[name].keys
    return party


def _steps(base: Organisation, name: str) -> list[str]:
    """The durable steps that it takes when nothing goes wrong."""
    fault = Fault()
    OPERATIONS[name].run(base.copy("whole"), fault, None)
    return fault.names


def _state_after(base: Organisation, name: str) -> object:
    party = base.copy("after")
    OPERATIONS[name].run(party, Fault(), None)
    return party.state()


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_crash_before_in_and_after_every_step(made: Path, tmp_path: Path, name: str) -> None:
    base = _base(made, tmp_path, name)
    before = base.copy("before").state()
    steps, done = _steps(base, name), _state_after(base, name)
    assert (before == done) == (name in SILENT)
    seen = []
    for step, when in itertools.product(range(len(steps)), ("before", "half", "after")):
        if when == "half" and steps[step] not in ("write", "overwrite"):
            continue
        party, image = base.copy("crashed"), base.copy("image")
        shutil.rmtree(image.directory)
        fault = Fault(when=when, image=(party.directory, image.directory))
        with pytest.raises(Crash):
            OPERATIONS[name].run(party, fault, step)
        found = image.state()
        assert found in (before, done), (steps[step], when)
        assert image.state() == found  # the next start changes nothing more
        seen.append(found == done)
    assert seen == sorted(seen)  # once it is done it stays done
    assert seen[-1]


@pytest.mark.parametrize("name", ["delete", "replace", "migrate", "rotate"])
def test_a_crash_while_a_crash_is_cleared_up(made: Path, tmp_path: Path, name: str) -> None:
    base = _base(made, tmp_path, name)
    before = base.copy("before").state()
    done = _state_after(base, name)
    tried = 0
    for step in range(len(_steps(base, name))):
        party, image = base.copy("crashed"), base.copy("image")
        shutil.rmtree(image.directory)
        fault = Fault(when="after", image=(party.directory, image.directory))
        with pytest.raises(Crash):
            OPERATIONS[name].run(party, fault, step)
        for again in itertools.count():
            other, second = image.copy("again"), image.copy("second")
            shutil.rmtree(second.directory)
            fault = Fault(again, "before", image=(other.directory, second.directory))
            try:
                store, _ = other.open(fault)
            except Crash:
                assert second.state() in (before, done)
                tried += 1
            else:
                store.close()
                break
    assert tried


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_full_disk_at_every_step(made: Path, tmp_path: Path, name: str) -> None:
    """An error that says so; nothing has changed, and when there is room it works."""
    base = _base(made, tmp_path, name)
    before = base.copy("before").state()
    done = _state_after(base, name)
    steps = _steps(base, name)
    tried = 0
    for step, kind in enumerate(steps):
        if kind in ("remove", "overwrite"):
            continue  # these need no room
        party = base.copy("full")
        fault = Fault(when="full")
        if name == "rotate" and kind in ("write", "rename"):
            OPERATIONS[name].run(party, fault, step)  # stays under the old key for now
        else:
            with pytest.raises(LibmpcError, match="disk is full"):
                OPERATIONS[name].run(party, fault, step)
        assert party.copy("seen").state() == before
        OPERATIONS[name].run(party, Fault(), None)
        assert party.state() == done
        tried += 1
    assert tried


def test_a_push_goes_on_in_the_same_process_when_there_is_room_again(
    made: Path, tmp_path: Path
) -> None:
    party = Organisation.load(made, tmp_path)
    for step in range(5):
        fault = Fault(when="full")
        store, catalog = party.copy(f"p{step}").open(fault)
        fault.taken, fault.step = 0, step
        push = first(party)
        with pytest.raises(LibmpcError, match="disk is full"):
            catalog.prepare(push.manifest, push.share)
        assert not catalog.prepared
        catalog.prepare(push.manifest, push.share)
        catalog.commit(push.model, push.receipts)
        assert push.model in catalog.entries
        store.close()


@pytest.mark.parametrize(
    ("name", "step", "when"),
    [("push", 3, "before"), ("push", 4, "after"), ("count", 0, "after"), ("delete", 1, "before")],
)
def test_kill_9(made: Path, tmp_path: Path, name: str, step: int, when: str) -> None:
    """The same with a real process and a real signal."""
    base = _base(made, tmp_path, name)
    before = base.copy("before").state()
    done = _state_after(base, name)
    party = base.copy("killed")
    arguments = [str(made), str(party.directory), name, str(step), when]
    child = subprocess.run(
        [sys.executable, "-m", kill_child.__name__, *arguments],
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert child.returncode == -9
    assert child.stdout == b"open\n"  # and never "done"
    expected = before if (name, when) == ("push", "before") else done
    assert party.state() == expected


def test_rotation_leaves_nothing_under_the_old_key(made: Path, tmp_path: Path) -> None:
    party = _base(made, tmp_path, "rotate")
    store, _ = party.open()
    store.close()
    party.keys = NEW_KEYS.without_old()
    store, catalog = party.open()
    assert first(party).model in catalog.entries
    store.close()
