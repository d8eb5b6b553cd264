"""The way to a service: its name, its port, its certificate."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from libmpc.clock import Clock
from libmpc.doctor.findings import Findings

CONNECT_SECONDS = 5.0
WARN_DAYS = 30
_EXPIRED, _NOT_YET = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
_WRONG_HOST = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def reach(
    findings: Findings,
    who: str,
    url: str,
    authorities: str,
    clock: Clock,
    own: tuple[Path, Path] | None = None,
) -> float | None:
    """Find out whether a service can be reached and is certified for its name.

    Args:
        who: the service, for people.
        authorities: PEM, the only ones that count.
        own: certificate and key to show; between services both sides do.

    Returns:
        seconds that a connection took, or ``None`` where it cannot be used.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        hint = "correct the URL in the deployment file, or this machine's DNS (/etc/hosts)"
        findings.fail(f"{who}: name", f"{host} has no address ({error.strerror})", hint)
        return None
    address = addresses[0][4][0]
    findings.ok(f"{who}: name", f"{host} is {address}")
    began = time.perf_counter()
    try:
        connection = socket.create_connection((host, port), CONNECT_SECONDS)
    except OSError as error:
        _unreachable(findings, who, f"{host}:{port}", error)
        return None
    seconds = time.perf_counter() - began
    findings.ok(f"{who}: port", f"{host}:{port} is open, {1e3 * seconds:.1f} ms away")
    if parts.scheme != "https":
        findings.warn(f"{who}: TLS", f"{url} is not encrypted", "use https but on one machine")
        connection.close()
        return seconds
    context = ssl.create_default_context(cadata=authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if own is not None:
        context.load_cert_chain(*own)
        context.set_alpn_protocols(["h2"])
    try:
        with connection, context.wrap_socket(connection, server_hostname=host) as secured:
            found = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    except ssl.SSLCertVerificationError as error:
        _refused(findings, f"{who}: TLS", host, port, error)
        return None
    except TimeoutError:
        hint = "its process is frozen or starved: look at it, and at its log"
        text = f"it takes connections, and says nothing for {CONNECT_SECONDS:g} s"
        findings.fail(f"{who}: TLS", text, hint)
        return None
    except (OSError, ValueError) as error:
        hint = "is it a libmpc service, and nothing in between that ends TLS? See its log"
        findings.fail(f"{who}: TLS", f"no TLS 1.3 with {host}:{port} ({error})", hint)
        return None
    check_expiry(findings, f"{who}: TLS", found, clock)
    return seconds


def check_expiry(findings: Findings, check: str, found: x509.Certificate, clock: Clock) -> None:
    """See how long a certificate counts, and for which names."""
    ends = found.not_valid_after_utc
    days = (ends - dt.datetime.fromtimestamp(clock.now(), dt.UTC)).days
    text = f"a certificate of this deployment for {', '.join(names(found))}"
    hint = "issue another one ('libmpc keys certificate') and send the service SIGHUP"
    if days < 0:
        findings.fail(check, f"the certificate expired on {ends:%Y-%m-%d}", hint)
    elif days < WARN_DAYS:
        findings.warn(check, f"{text}; it expires in {days} days", hint)
    else:
        findings.ok(check, f"{text}; {days:,} days left")


def names(found: x509.Certificate) -> list[str]:
    """The hosts that a certificate is for."""
    try:
        listed = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in listed]


def _unreachable(findings: Findings, who: str, where: str, error: OSError) -> None:
    if isinstance(error, ConnectionRefusedError):
        text, hint = f"nothing listens at {where}", "start the service, or correct its URL"
    elif isinstance(error, TimeoutError):
        text = f"{where} does not answer within {CONNECT_SECONDS:g} s"
        hint = "a firewall drops what is sent, or the machine is down: open the port on the way"
    else:
        text, hint = f"{where} cannot be reached: {error.strerror}", "look at routes and firewalls"
    findings.fail(f"{who}: port", text, hint)


def _refused(
    findings: Findings, check: str, host: str, port: int, error: ssl.SSLCertVerificationError
) -> None:
    code = error.verify_code
    shown = presented(host, port)
    issued = f", issued by {shown.issuer.rfc4514_string()!r}" if shown is not None else ""
    if code == _EXPIRED and shown is not None:
        text = f"the certificate expired on {shown.not_valid_after_utc:%Y-%m-%d}"
        hint = "its operator issues another one ('libmpc keys certificate'); is this clock right?"
    elif code == _NOT_YET:
        text = "the certificate does not count yet"
        hint = "set this machine's clock, or that of whoever issued it"
    elif code in _WRONG_HOST and shown is not None:
        text = f"the certificate is for {', '.join(names(shown)) or 'no host'}, not for {host}"
        hint = "use one of these names in the deployment file, or issue a certificate for this one"
    else:
        text = f"the certificate comes from no authority of this deployment{issued}"
        hint = (
            "the deployment file is old or another one's, or a proxy ends TLS on the way: get the"
            " current file, compare fingerprints, let proxies pass TCP through"
        )
    findings.fail(check, text, hint)


def presented(host: str, port: int) -> x509.Certificate | None:
    """What certificate a service shows; for the message only, since nothing vouches for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), CONNECT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host) as secured,
        ):
            return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError):
        return None
