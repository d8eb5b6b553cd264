"""``libmpc doctor --config`` on files that are broken, and the way to services that are."""

from __future__ import annotations

import datetime as dt
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from libmpc.clock import SystemClock
from libmpc.deployment import Deployment
from libmpc.deployment_local import LocalPorts, make_all
from libmpc.doctor.findings import Finding, Findings
from libmpc.doctor.network import reach
from libmpc.identity.storage_keys import StorageKey, StorageKeys
from libmpc.identity.tls import CA_CERTIFICATE, issue_leaf, make_tls
from services.gateway.doctor import check as check_gateway
from services.party.doctor import check as check_party
from tests.cli.conftest import cli
from tests.cli.run import Cli

__all__ = ["cli"]

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment whose services do not run."""
    directory = tmp_path_factory.mktemp("made") / "run"
    # Ports at which nothing listens, whatever else runs on this machine.
    make_all(directory, LocalPorts(parties=(1, 2, 3), health=(4, 5, 6), gateway=7))
    return directory


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """Party 0's own files, to be broken."""
    return shutil.copytree(made / "party0", tmp_path / "party0")


def party(home: Path) -> dict[str, Finding]:
    """What is found at a party, by check; of several the worst."""
    findings = Findings()
    check_party(findings, home / "party.yaml")
    return by_check(findings)


def by_check(findings: Findings) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for one in findings.found:
        assert bool(one.hint) == (one.level != "ok")
        if one.check not in found or one.level == "error":
            found[one.check] = one
    return found


def test_a_party_that_does_not_run(home: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*"))
    found = party(home)
    well = {"settings", "deployment file", "keys", "storage key", "data", "certificate"}
    assert {name for name, one in found.items() if one.level == "ok"} >= well
    for peer in (1, 2):
        assert "nothing listens" in found[f"party {peer}: port"].text
    assert before == sorted((path, path.stat().st_mtime_ns) for path in home.rglob("*"))


def settings(home: Path) -> None:
    path = home / "party.yaml"
    path.write_text(path.read_text().replace("index: 0", "index: 7"))


def no_deployment(home: Path) -> None:
    (home / "deployment.yaml").unlink()


def no_keys(home: Path) -> None:
    (home / "keys" / "signing.key").unlink()


def open_keys(home: Path) -> None:
    (home / "keys" / "static.key").chmod(0o644)


def no_storage_key(home: Path) -> None:
    (home / "keys" / "storage.key").unlink()


def another_storage_key(home: Path) -> None:
    shares = home / "data" / "shares"
    shares.mkdir(exist_ok=True)
    (shares / "x.key").write_bytes(b"LMPCkey1" + StorageKey.generate().id + bytes(64))


def another_authority(home: Path) -> None:
    make_tls(home / "keys", "somebody else", ["127.0.0.1"], NOW)


def expired(home: Path) -> None:
    issue_leaf(home / "keys", "late", ["127.0.0.1"], NOW - 900 * DAY)


def another_host(home: Path) -> None:
    issue_leaf(home / "keys", "elsewhere", ["party0.example.org"], NOW)


def no_pair(home: Path) -> None:
    shutil.copy(home / "keys" / "ca.key", home / "keys" / "tls.key")


@pytest.mark.parametrize(
    ("break_it", "check", "text"),
    [
        (settings, "settings", "index"),
        (no_deployment, "deployment file", "there is no"),
        (no_keys, "keys", "there is no"),
        (open_keys, "keys", "chmod 600"),
        (no_storage_key, "storage key", "there is no"),
        (another_storage_key, "storage key", "was not given"),
        (another_authority, "certificate", "no authority in the deployment file"),
        (expired, "certificate", "the certificate expired on"),
        (another_host, "certificate", "party0.example.org"),
        (no_pair, "certificate", "do not make a pair"),
    ],
)
def test_each_broken_file_is_named(
    home: Path, break_it: Callable[[Path], None], check: str, text: str
) -> None:
    break_it(home)
    found = party(home)[check]
    assert (found.level, text in found.text) == ("error", True), found


def test_keys_of_another_party(made: Path, home: Path) -> None:
    for name in ("static.key", "signing.key"):
        shutil.copy(made / "party1" / "keys" / name, home / "keys" / name)
    assert "other keys for party 0" in party(home)["keys"].text


def test_a_folder_that_others_can_enter(home: Path) -> None:
    (home / "keys").chmod(0o755)
    findings = Findings()
    check_party(findings, home / "party.yaml")
    assert any(f.check == "keys" and "chmod 700" in f.hint for f in findings.found)


def test_a_disk_without_room(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(home)
    for free, level in ((1 << 20, "error"), (1 << 29, "warning"), (1 << 40, "ok")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, f=free: usage._replace(free=f))
        assert party(home)["data"].level == level


def test_a_data_directory_that_is_none(home: Path) -> None:
    shutil.rmtree(home / "data")
    assert "not there yet" in party(home)["data"].text


def test_a_port_that_somebody_else_has(home: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        path, port = home / "party.yaml", taken.getsockname()[1]
        path.write_text(path.read_text().replace("port: 1\n", f"port: {port}\n", 1))
        answering = threading.Thread(target=_hang_up, args=(taken,), daemon=True)
        answering.start()
        found = party(home)["port"]
    assert (found.level, "is in use" in found.text) == ("error", True)


def _hang_up(server: socket.socket) -> None:
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        pass


def test_a_gateway_that_does_not_run(made: Path, cli: Cli) -> None:
    findings = Findings()
    check_gateway(findings, made / "gateway" / "gateway.yaml")
    found = by_check(findings)
    assert found["keys"].text == "those of a gateway of the deployment file"
    assert found["tokens"].level == "ok"
    assert [name for name, one in found.items() if one.level == "error"] == [
        f"party {index}: port" for index in range(3)
    ]
    result = cli("doctor", "--config", made / "gateway" / "gateway.yaml", "--json")
    assert result.code == 1


def test_a_gateway_that_the_file_does_not_name(made: Path, tmp_path: Path) -> None:
    home = shutil.copytree(made / "gateway", tmp_path / "gateway")
    shutil.copy(made / "party0" / "keys" / "static.key", home / "keys" / "static.key")
    findings = Findings()
    check_gateway(findings, home / "gateway.yaml")
    assert "names no gateway with this gateway's key" in by_check(findings)["keys"].text


# ---- the way to a service


@contextmanager
def serving(keys: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """A server with a certificate; gives its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "tls.crt", keys / "tls.key")
    with closing(socket.create_server((host, 0))) as server:

        def answer() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"https://{host}:{server.getsockname()[1]}"


def way(keys: Path, url: str) -> Finding:
    findings = Findings()
    reach(findings, "it", url, (keys / CA_CERTIFICATE).read_text(), SystemClock())
    return findings.found[-1]


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Of an organisation whose authority still counts."""
    make_tls(tmp_path, "somebody", ["127.0.0.1"], NOW - 900 * DAY)
    return tmp_path


def test_certificates_that_expire(keys: Path) -> None:
    with serving(keys) as url:
        found = way(keys, url)
    assert (found.level, "the certificate expired on" in found.text) == ("error", True)
    issue_leaf(keys, "somebody", ["127.0.0.1"], NOW - 815 * DAY)
    with serving(keys) as url:
        found = way(keys, url)
    assert (found.level, "expires in" in found.text) == ("warning", True)
    issue_leaf(keys, "somebody", ["127.0.0.1"], NOW)
    with serving(keys) as url:
        assert way(keys, url).level == "ok"


def test_certificates_for_another_host_or_from_nobody(keys: Path, made: Path) -> None:
    issue_leaf(keys, "somebody", ["gateway.example.org"], NOW)
    with serving(keys) as url:
        found = way(keys, url)
        assert "is for gateway.example.org, not for 127.0.0.1" in found.text
        findings = Findings()
        authorities = Deployment.from_file(made / "deployment.yaml").tls_ca
        reach(findings, "it", url, authorities, SystemClock())
        assert "issued by" in findings.found[-1].text


def test_something_that_is_not_tls(keys: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=_hang_up, args=(server,), daemon=True).start()
        found = way(keys, f"https://127.0.0.1:{server.getsockname()[1]}")
    assert (found.check, "no TLS 1.3" in found.text) == ("it: TLS", True)


def test_findings_say_whether_anything_failed() -> None:
    shown: list[Finding] = []
    findings = Findings(shown.append)
    findings.ok("a", "well")
    findings.warn("b", "so so", "look")
    assert not findings.failed
    findings.fail("c", "broken", "mend it")
    assert findings.failed
    assert shown == findings.found


def test_storage_keys_are_never_shown(home: Path) -> None:
    secrets = [key.secret.hex() for key in StorageKeys.from_file(home / "keys" / "storage.key")]
    another_storage_key(home)
    said = " ".join(f"{one.text} {one.hint}" for one in party(home).values())
    assert not any(secret in said for secret in secrets)
