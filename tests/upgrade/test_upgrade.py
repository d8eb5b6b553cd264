"""Upgrade and rollback, one service at a time, under load: no wrong answer, nothing lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc import data
from tests.upgrade.builds import Build, next_build, previous_build, this_build
from tests.upgrade.mixed import SERVICES, Asker, Mixed, mixed

UPGRADE = ("party 2", "party 1", "party 0", "gateway")
ROLLBACK = ("gateway", "party 0", "party 2", "party 1")
#: one query of each build's client after each swap, and one more than there are
LIMIT = 2 * len(UPGRADE + ROLLBACK) + 1
#: an outage is over for a patient client within these, at about a second each
PATIENCE = 180


class Rolling:
    """One run: a deployment of the old build, clients of both, and what is expected of them."""

    def __init__(self, directory: Path, deployment: Mixed, old: Build, new: Build) -> None:
        self.deployment, self.old, self.new = deployment, old, new
        self.directory = directory
        self.model = data.model_path("short-conv-mnist.h5")
        self.images = data.digits()[0][:40]
        loaded = libmpc.load_model(self.model, input_range=(0, 1))
        self.expected = loaded.reference(self.images)
        self.files = {"x": directory / "x.npy", "y": directory / "y.npy"}
        np.save(self.files["x"], self.images)
        np.save(self.files["y"], self.expected)
        self.askers: list[Asker] = []
        self.patient: list[Asker] = []
        self.outages: list[tuple[float, float]] = []
        self.counted = 0

    @property
    def both(self) -> tuple[Build, Build]:
        return self.old, self.new

    def owner(self, build: Build, *arguments: object) -> str:
        """A command of the model's owner, with that build's program."""
        return build.run(*map(str, arguments), "--deployment", str(self.deployment.deployment))

    def push(self, build: Build, name: str, *more: object) -> None:
        self.owner(build, "push", self.model, "--name", name, "--input-range", 0, 1, *more)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Clients of both builds that ask all the time: some never try again, some do."""
        place = (self.deployment.deployment, "digits", self.files["x"], self.files["y"])
        with ExitStack() as stack:
            for build in self.both:
                self.askers.append(Asker(build, *place, 0))
                self.patient.append(Asker(build, *place, PATIENCE))
            for asker in self.askers + self.patient:
                stack.callback(asker.stop)
            for asker in self.askers + self.patient:
                asker.go_on()
            yield

    def swap(self, service: str, build: Build) -> None:
        """Another build in a service's place; returns when all clients have answers again."""
        begin = time.monotonic()
        self.deployment.stop(service)
        self.deployment.start(service, build)
        self.deployment.wait()
        for asker in self.askers + self.patient:
            asker.go_on()
        self.outages.append((begin, time.monotonic()))
        self.check()

    def check(self) -> None:
        """Clients of both builds get the right answer from what runs now, and see one count."""
        for build in self.both:
            self.query(build, "limited")
            self.counted += 1
            assert self.models(build)["limited"] == ("serving", self.counted)
        for index in range(3):
            # Each party's log, by the program of the build that it now runs.
            home = self.deployment.directory / f"party{index}" / "data" / "audit"
            self.deployment.builds[f"party {index}"].run("audit", "verify", str(home))

    def query(self, build: Build, name: str, deployment: Path | None = None) -> None:
        """One sample, asked by that build's program."""
        out = self.directory / "out.npy"
        out.unlink(missing_ok=True)
        one = self.directory / "one.npy"
        np.save(one, self.images[:1])
        where = deployment or self.deployment.deployment
        arguments = ("query", name, one, "--out", out, "--deployment", where)
        build.run(*map(str, arguments))
        assert np.array_equal(np.load(out), self.expected[:1])

    def models(self, build: Build) -> dict[str, tuple[str, int]]:
        """State and count of each model, by that build's program."""
        document = json.loads(self.owner(build, "models", "--json"))
        return {m["name"]: (m["state"], m["served"]) for m in document["models"]}

    def token(self, build: Build, name: str) -> tuple[str, Path]:
        """A new token; its id, and a client's folder with it."""
        folder = self.directory / name
        made = self.owner(build, "token", "create", name, "--out", folder, "--json")
        return json.loads(made)["id"], folder / "deployment.yaml"

    def judge(self) -> None:
        """What clients have seen: right answers, and clear failures while something was away."""
        for asker in self.askers + self.patient:
            assert asker.answers(0) > 0
            for call in asker.calls:
                if call.what == "right":
                    continue
                assert asker not in self.patient, (asker.build.name, call)
                assert call.what in ("503", "None"), (asker.build.name, call)
                assert self.during(call.begin, call.end), (asker.build.name, call, self.outages)

    def during(self, begin: float, end: float) -> bool:
        """Whether a call overlaps a time in which a service was being exchanged."""
        return any(begin <= last and end >= first for first, last in self.outages)


def refused(error: pytest.ExceptionInfo[AssertionError]) -> str:
    return str(error.value).lower()


def roll(rolling: Rolling) -> None:
    """Upgrade everything, use it, and go back."""
    old, new = rolling.both
    rolling.push(old, "digits", "--serve")
    rolling.push(old, "limited", "--serve", "--num-requests", LIMIT)
    rolling.push(old, "doomed", "--serve")
    rolling.push(old, "paused", "--serve")
    first, first_client = rolling.token(old, "first")
    _, kept_client = rolling.token(old, "kept")
    with rolling.load():
        for service in UPGRADE:
            rolling.swap(service, new)
        rolling.query(old, "digits", kept_client)
        # What is made, changed and deleted now has to be so after going back.
        rolling.push(new, "late", "--serve")
        rolling.owner(old, "stop", "paused")
        rolling.owner(new, "delete", "doomed")
        rolling.owner(old, "token", "revoke", first)
        _, second_client = rolling.token(new, "second")
        rolling.query(new, "digits", second_client)
        for service in ROLLBACK:
            rolling.swap(service, old)
    rolling.judge()
    states = rolling.models(old)
    assert set(states) == {"digits", "limited", "late", "paused"}
    assert states["paused"][0] == "stopped"
    rolling.query(old, "late")
    rolling.query(new, "late", kept_client)
    rolling.query(old, "late", second_client)
    with pytest.raises(AssertionError) as error:
        rolling.query(old, "late", first_client)
    assert "token" in refused(error)
    # Not one request more than the owner allowed, over all eight swaps.
    rolling.query(old, "limited")
    with pytest.raises(AssertionError) as error:
        rolling.query(new, "limited")
    assert "limit" in refused(error)
    rolling.deployment.close()
    for index in range(3):
        log = rolling.deployment.directory / f"party{index}" / "data" / "audit"
        # The whole history, by both builds.
        heads = {build.run("audit", "verify", str(log), "--json") for build in rolling.both}
        assert len({json.loads(one)["head"] for one in heads}) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_to_the_next_minor_version_and_back(tmp_path: Path) -> None:
    """The next one says more in messages, files and logs than this one knows."""
    old = this_build()
    with mixed(tmp_path / "run", old) as deployment:
        rolling = Rolling(tmp_path, deployment, old, next_build(tmp_path / "next"))
        roll(rolling)
        assert f"{rolling.new.version} listens" in deployment.log("party 1")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_the_build_before_and_back(tmp_path: Path) -> None:
    """The build before this one, as it was."""
    old = previous_build(tmp_path / "before")
    if old is None:
        pytest.skip("no history of the repository here")
    with mixed(tmp_path / "run", old) as deployment:
        roll(Rolling(tmp_path, deployment, old, this_build()))


def test_builds_differ(tmp_path: Path) -> None:
    """The next minor says another version and speaks another minor, so the test tests something."""
    later = next_build(tmp_path / "next")
    code = "from libmpc.link.hello import WireVersions as W; print(W().highest)"
    assert later.version in later.run("--version")
    assert int(later.python(code)) == int(this_build().python(code)) + 1
    assert set(SERVICES) == set(UPGRADE) == set(ROLLBACK)
