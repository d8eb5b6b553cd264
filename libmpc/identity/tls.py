"""TLS certificates: a small certification authority for each organisation, and one leaf.

TLS is the second layer here. Who a party is follows from its static key in the handshake, never
from a certificate, so one organisation's authority cannot speak for another's party.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libmpc.errors import ConfigError
from libmpc.identity.files import read_private, read_public, write_private, write_public
from libmpc.identity.keys import to_pem

CA_DAYS = 3653
LEAF_DAYS = 825
CA_KEY, CA_CERTIFICATE = "ca.key", "ca.crt"
TLS_KEY, TLS_CERTIFICATE = "tls.key", "tls.crt"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?", re.IGNORECASE)


def make_tls(directory: Path, organisation: str, hosts: Sequence[str], now: dt.datetime) -> None:
    """Write a new authority and a leaf certificate for ``hosts`` into an existing directory.

    Raises:
        ConfigError: a host is neither a host name nor an address.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(organisation, "certification authority")
    usage = _usage(sign=False, certify=True)
    certificate = (
        _builder(name, name, key.public_key(), now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, SHA256())
    )
    write_private(directory / CA_KEY, to_pem(key))
    write_public(directory / CA_CERTIFICATE, certificate.public_bytes(Encoding.PEM))
    issue_leaf(directory, organisation, hosts, now)


def issue_leaf(directory: Path, organisation: str, hosts: Sequence[str], now: dt.datetime) -> None:
    """Write a new key and certificate for ``hosts``, signed by the directory's authority.

    Nobody else needs to be told: deployments name the authority, not the leaf.

    Raises:
        ConfigError: the authority's files are missing or unreadable, or a host is none.
    """
    authority, authority_key = _load_authority(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    # The longest that clients accept; and a leaf does not outlive its authority.
    left = (authority.not_valid_after_utc - now).days
    names = x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)])
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(
            _name(organisation, "service"),
            authority.subject,
            key.public_key(),
            now,
            max(1, min(LEAF_DAYS, left)),
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign=True, certify=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(names, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer), critical=False
        )
        .sign(authority_key, SHA256())
    )
    write_private(directory / TLS_KEY, to_pem(key))
    write_public(directory / TLS_CERTIFICATE, certificate.public_bytes(Encoding.PEM))


def hosts_of(host: str, more: Sequence[str] = ()) -> tuple[str, ...]:
    """A certificate's hosts: a local one goes by all its names."""
    local = LOCAL_HOSTS if host in LOCAL_HOSTS else ()
    return tuple(dict.fromkeys((host, *local, *more)))


def bundle(pem: str) -> list[bytes]:
    """The authorities in a PEM bundle (DER).

    Raises:
        ValueError: it is not PEM, or has a certificate that is no authority's.
    """
    certificates = x509.load_pem_x509_certificates(pem.encode())
    for certificate in certificates:
        try:
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        except x509.ExtensionNotFound:
            raise ValueError("a certificate in it is no authority's") from None
        if not constraints.value.ca:
            raise ValueError("a certificate in it is no authority's")
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _load_authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    pem = read_private(directory / CA_KEY, "the certification authority's key")
    certificate_pem = read_public(directory / CA_CERTIFICATE, "the certification authority")
    try:
        key = load_pem_private_key(pem, password=None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except (ValueError, TypeError):
        raise ConfigError(f"{directory} has no usable certification authority") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{directory / CA_KEY} is no elliptic-curve key")
    return certificate, key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: dt.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # An hour early, for machines whose clocks are behind.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _usage(*, sign: bool, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )


def _name(organisation: str, what: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organisation} {what}"[:64]),
        ]
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not all(_LABEL.fullmatch(part) for part in host.split(".")):
        raise ConfigError(f"{host!r} is neither a host name nor an IP address")
    return x509.DNSName(host)
