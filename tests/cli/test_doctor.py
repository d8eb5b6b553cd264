"""``libmpc doctor`` and ``libmpc status`` against real services: well, and broken in every way."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

import libmpc
from libmpc.access import AccessStore, make_grant
from libmpc.client.shell import BlockingClock
from libmpc.credentials import Credential
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.doctor.client import diagnose
from libmpc.doctor.findings import Finding, Findings
from services.gateway.doctor import check as check_gateway
from services.party.doctor import check as check_party
from tests.cli.run import Cli
from tests.client.fake import tiny_model
from tests.cluster.programs import until

PORTS = LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7)


class Shifted(BlockingClock):
    """The machine's clock, wrong by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def now(self) -> float:
        return super().now() + self._seconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[libmpc.LocalCluster]:
    with libmpc.LocalCluster(tmp_path_factory.mktemp("cluster")) as running:
        running.share(tiny_model(), "tiny", serve=True, num_requests=5)
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another deployment's files."""
    directory = tmp_path_factory.mktemp("other") / "run"
    make_all(directory, PORTS, name="other")
    return directory


@pytest.fixture
def home(cluster: libmpc.LocalCluster, tmp_path: Path) -> Path:
    """A client's own copy of its two files, to be damaged."""
    for name in ("deployment.yaml", "credentials.yaml"):
        shutil.copy(cluster.directory / name, tmp_path / name)
    return tmp_path


def changed(home: Path, **changes: object) -> Path:
    """The deployment file with other fields."""
    path = home / "deployment.yaml"
    found = Deployment.from_file(path)
    Deployment.model_validate({**dict(found), **changes}).write(path)
    return home


def diagnosis(home: Path, *arguments: object, **settings: object) -> Findings:
    findings = Findings()
    diagnose(findings, home, *arguments, **settings)  # type: ignore[arg-type]
    return findings


def worst(findings: Findings) -> Finding:
    """The first check that failed; nothing may fail without a hint."""
    assert all(found.hint for found in findings.found if found.level != "ok")
    return next(found for found in findings.found if found.level == "error")


def test_all_is_well(cluster: libmpc.LocalCluster, cli: Cli) -> None:
    found = cli("doctor", "tiny", "--query", "--deployment", cluster.deployment, "--json").json()
    assert found["ok"]
    checks = {check["check"]: check for check in found["checks"]}
    # A busy machine may be slow, which is worth a warning and nothing more.
    slow = {"gateway: answer", "model tiny: query"}
    assert {c["check"] for c in found["checks"] if c["level"] != "ok"} <= slow, found["checks"]
    fingerprint = Deployment.from_file(cluster.deployment).fingerprint
    assert fingerprint in checks["deployment file"]["text"]
    assert "days left" in checks["gateway: TLS"]["text"]
    assert {"party 0", "party 1", "party 2", "clock of the gateway"} <= checks.keys()
    assert "signed by the keys that the file pins" in checks["parties' keys"]["text"]
    assert "5 of 5 requests left" in checks["model tiny"]["text"]
    assert "counts as a request" in checks["model tiny: query"]["text"]
    result = cli("doctor", "--deployment", cluster.deployment)
    assert result.code == 0
    assert "✓ models: served: tiny" in result.out
    assert "✗" not in result.out
    assert re.search(r"\n\n\d+ checks: (all is well|1 to look at)", result.out)
    (summary,) = cluster.models()
    assert summary.served == 1


def test_status(cluster: libmpc.LocalCluster, cli: Cli) -> None:
    found = cli("status", "--deployment", cluster.deployment, "--json").json()
    assert found["ready"]
    (triple,) = found["triples"]
    for party in triple["parties"]:
        assert (party["ready"], party["version"]) == (True, libmpc.__version__)
        assert party["uptime"] > 0
    assert len({party["epoch"] for party in triple["parties"]}) == 1
    assert found["models"][0]["num_requests"] == 5


def test_a_model_that_is_stopped_used_up_or_unknown(cluster: libmpc.LocalCluster) -> None:
    served = cluster.model("tiny")
    served.stop()
    found = worst(diagnosis(cluster.directory, "tiny"))
    assert (found.check, found.text) == ("model tiny", "it is stopped")
    served.serve(1)
    assert not diagnosis(cluster.directory, "tiny", query=True).failed
    found = worst(diagnosis(cluster.directory, "tiny"))
    assert "all 1 requests are used up" in found.text
    served.serve(5)
    found = worst(diagnosis(cluster.directory, "unknown"))
    assert "tiny" in found.hint


def test_the_deployment_file(home: Path) -> None:
    path = home / "deployment.yaml"
    path.chmod(0o666)
    (found, *_) = diagnosis(home).found
    assert (found.check, found.level) == ("deployment file", "warning")
    assert "chmod go-w" in found.hint
    path.write_text("version: 1\nname: [")
    assert worst(diagnosis(home)).check == "deployment file"
    path.unlink()
    assert "there is no" in worst(diagnosis(home)).text


def test_the_credentials(home: Path, other: Path) -> None:
    path = home / "credentials.yaml"
    path.chmod(0o644)
    found = worst(diagnosis(home))
    assert (found.check, "chmod 600" in found.text) == ("credentials", True)
    path.unlink()
    assert "there is no token" in worst(diagnosis(home)).text
    shutil.copy(other / "credentials.yaml", path)
    assert "for another deployment" in worst(diagnosis(home)).text


def test_tokens_that_have_expired_or_are_unknown(cluster: libmpc.LocalCluster, home: Path) -> None:
    deployment = Deployment.from_file(home / "deployment.yaml")
    store = AccessStore(cluster.directory / "gateway" / "data")
    expired, grant = make_grant("late", "client", 1_000, expires_ms=2_000)
    store.add(grant)
    limited, grant = make_grant("few", "client", 1_000, models=("tiny",), images=1)
    store.add(grant)
    store.close()
    path = home / "credentials.yaml"

    def use(token: SecretStr) -> None:
        Credential(deployment=deployment.id.hex(), token=token).write(path)

    use(expired)
    found = worst(diagnosis(home))
    assert (found.check, "it has expired" in found.text) == ("token", True)
    use(SecretStr("nonsense" * 8))
    assert "wrong or was revoked" in worst(diagnosis(home)).text
    use(limited)
    assert not diagnosis(home, "tiny", query=True).failed
    found = worst(diagnosis(home))
    assert (found.check, "used up for tiny" in found.text) == ("token", True)


def test_another_authority(home: Path, other: Path) -> None:
    theirs = Deployment.from_file(other / "deployment.yaml").tls_ca
    found = worst(diagnosis(changed(home, tls_ca=theirs)))
    assert found.check == "gateway: TLS"
    assert "no authority of this deployment, issued by" in found.text


def test_another_deployment_behind_the_same_certificate(home: Path, other: Path) -> None:
    parties = Deployment.from_file(other / "deployment.yaml").parties
    changed(home, parties=parties)
    deployment = Deployment.from_file(home / "deployment.yaml")
    path = home / "credentials.yaml"
    path.write_text(path.read_text().replace(_id(path), deployment.id.hex()))
    assert worst(diagnosis(home)).check == "gateway: deployment"


def _id(path: Path) -> str:
    return path.read_text().split("deployment: ")[1].split()[0].strip("'\"")


@pytest.mark.parametrize(
    ("url", "check", "text"),
    [
        ("https://127.0.0.1:1", "gateway: port", "nothing listens"),
        ("https://no-such-host.invalid", "gateway: name", "has no address"),
    ],
)
def test_a_gateway_that_is_not_there(home: Path, url: str, check: str, text: str) -> None:
    gateways = Deployment.from_file(home / "deployment.yaml").gateways
    moved = gateways[0].model_copy(update={"url": url})
    found = worst(diagnosis(changed(home, gateways=(moved,))))
    assert (found.check, text in found.text) == (check, True)


@pytest.mark.parametrize(("seconds", "side"), [(-600, "ahead of"), (600, "behind")])
def test_a_clock_that_is_wrong(cluster: libmpc.LocalCluster, seconds: float, side: str) -> None:
    found = worst(diagnosis(cluster.directory, clock=Shifted(seconds)))
    assert found.check == "clock of the gateway"
    assert found.text.split(" s ")[1].startswith(side)
    assert "NTP" in found.hint


def test_keys_that_nobody_vouches_for(home: Path, cluster: libmpc.LocalCluster) -> None:
    """As from a gateway that hands out its own: the file pins other signing keys."""
    deployment = Deployment.from_file(home / "deployment.yaml")
    zero, *others = deployment.parties
    swapped = (zero.model_copy(update={"signing_key": bytes(31) + b"\1"}), *others)
    changed(home, parties=swapped, first_id=deployment.id.hex())
    found = worst(diagnosis(home))
    assert (found.check, "do not send anything" in found.hint) == ("parties' keys", True)


def test_a_party_that_is_frozen(cluster: libmpc.LocalCluster, cli: Cli) -> None:
    pid = cluster.processes["party 1"]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        with libmpc.Client(cluster.deployment, retries=0) as client:
            until(lambda: not client.status().triples[0].parties[1].up)
        found = worst(diagnosis(cluster.directory))
        assert (found.check, "no link" in found.text) == ("party 1", True)
        result = cli("status", "--deployment", cluster.deployment)
        assert (result.code, "down" in result.out) == (1, True)
        result = cli("doctor", "tiny", "--deployment", cluster.deployment)
        assert result.code == 1
        assert "✗ party 1: the gateway has no link to it\n    → " in result.out
        findings = Findings()
        check_gateway(findings, cluster.directory / "gateway" / "gateway.yaml")
        broken = {found.check: found for found in findings.found if found.level == "error"}
        assert "says nothing" in broken["party 1: TLS"].text
    finally:
        os.kill(pid, signal.SIGCONT)
    with libmpc.Client(cluster.deployment, retries=0) as client:
        until(lambda: client.status().ready)


def test_services_that_run(cluster: libmpc.LocalCluster, cli: Cli) -> None:
    for index in range(3):
        path = cluster.directory / f"party{index}" / "party.yaml"
        result = cli("doctor", "--config", path)
        assert result.code == 0, result.out
        assert f"✓ health port: libmpc party {libmpc.__version__} runs and is ready" in result.out
        for peer in {0, 1, 2} - {index}:
            assert f"✓ party {peer}: version {libmpc.__version__}, ready" in result.out
    with libmpc.Client(cluster.deployment) as client:
        before = client.status().triples[0].parties[0].epoch
        findings = Findings()
        check_gateway(findings, cluster.directory / "gateway" / "gateway.yaml")
        proven = [f for f in findings.found if "has proven its key" in f.text]
        assert [f.check for f in proven] == ["party 0", "party 1", "party 2"]
        after = client.status().triples[0].parties[0].epoch
        assert before == after, "looking at a deployment must not end its epoch"


def test_a_party_whose_clock_is_wrong(cluster: libmpc.LocalCluster) -> None:
    findings = Findings()
    check_party(findings, cluster.directory / "party0" / "party.yaml", Shifted(-600))
    clocks = [f for f in findings.found if f.check.startswith("clock of party")]
    assert len(clocks) == 2
    assert all("ahead of" in f.text for f in clocks)
    assert not findings.failed
