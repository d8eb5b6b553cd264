from __future__ import annotations

import datetime as dt
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from libmpc.errors import ConfigError
from libmpc.identity.tls import bundle, hosts_of, issue_leaf, make_tls

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
HOSTS = ("party0.example.org", "127.0.0.1", "::1", "localhost", "under_score")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    first, second = (tmp_path_factory.mktemp(name) for name in ("first", "second"))
    make_tls(first, "libmpc party 0", HOSTS, NOW)
    make_tls(second, "libmpc party 1", ("127.0.0.1",), NOW)
    return first, second


def contexts(server: Path, client: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.verify_mode = ssl.CERT_REQUIRED
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context, own, other in ((ours, server, client), (theirs, client, server)):
        context.load_cert_chain(own / "tls.crt", own / "tls.key")
        context.load_verify_locations(other / "ca.crt")
        # What Python 3.13 does by itself.
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return ours, theirs


def shake_hands(server: Path, client: Path, host: str, echo: bytes = b"x") -> bytes:
    """Mutual TLS in memory; what the server reads."""
    ours, theirs = contexts(server, client)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = ours.wrap_bio(up, down, server_side=True)
    two = theirs.wrap_bio(down, up, server_hostname=host)
    done = [False, False]
    for _ in range(10):
        for index, side in enumerate((two, one)):
            try:
                side.do_handshake()
                done[index] = True
            except ssl.SSLWantReadError:
                pass
    assert done == [True, True]
    two.write(echo)
    return one.read()


@pytest.mark.parametrize("host", HOSTS)
def test_mutual_and_strict(folders: tuple[Path, Path], host: str) -> None:
    assert shake_hands(*folders, host) == b"x"


def test_other_host_and_other_authority(folders: tuple[Path, Path]) -> None:
    first, second = folders
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(first, second, "party1.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        shake_hands(first, second, "127.0.0.2")
    ours, theirs = contexts(first, second)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.load_verify_locations(second / "ca.crt")
    one = ours.wrap_bio(up, down, server_side=True)
    two = stranger.wrap_bio(down, up, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        two.do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        one.do_handshake()
    with pytest.raises(ssl.SSLCertVerificationError):
        two.do_handshake()
    assert theirs.verify_mode == ssl.CERT_REQUIRED


def test_lifetimes_and_modes(folders: tuple[Path, Path]) -> None:
    first, _ = folders
    ca, leaf = (
        x509.load_pem_x509_certificate((first / name).read_bytes())
        for name in ("ca.crt", "tls.crt")
    )
    assert (ca.not_valid_after_utc - NOW).days == 3653
    assert (leaf.not_valid_after_utc - NOW).days == 825
    assert leaf.not_valid_before_utc == NOW - dt.timedelta(hours=1)
    for name in ("ca.key", "tls.key"):
        assert stat.S_IMODE((first / name).stat().st_mode) == 0o600


def test_new_leaf_under_the_same_authority(tmp_path: Path) -> None:
    make_tls(tmp_path, "libmpc party 0", ("old.example.org",), NOW)
    before = (tmp_path / "tls.crt").read_bytes()
    issue_leaf(tmp_path, "libmpc party 0", ("new.example.org",), NOW)
    assert (tmp_path / "tls.crt").read_bytes() != before
    assert shake_hands(tmp_path, tmp_path, "new.example.org") == b"x"
    issue_leaf(tmp_path, "libmpc party 0", ("a.b",), NOW + dt.timedelta(days=3600))
    leaf, ca = (
        x509.load_pem_x509_certificate((tmp_path / name).read_bytes())
        for name in ("tls.crt", "ca.crt")
    )
    assert leaf.not_valid_after_utc <= ca.not_valid_after_utc


@pytest.mark.parametrize("host", ["", "a b", "*.example.org", "-a.org", "a..b", "a/b", "é.org"])
def test_hosts_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="neither a host name"):
        make_tls(tmp_path, "x", (host,), NOW)


def test_hosts_of() -> None:
    assert hosts_of("a.org", ("b.org", "a.org")) == ("a.org", "b.org")
    assert hosts_of("127.0.0.1") == ("127.0.0.1", "localhost", "::1")


def test_bundle(folders: tuple[Path, Path]) -> None:
    first, second = folders
    pems = [(folder / "ca.crt").read_text() for folder in folders]
    assert len(bundle("".join(pems))) == 2
    for text in ("", "x", (first / "tls.crt").read_text(), pems[0][:200]):
        with pytest.raises(ValueError):
            bundle(text)
    assert bundle(pems[0]) != bundle((second / "ca.crt").read_text())
