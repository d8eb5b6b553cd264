"""Certificates for tests: each service has a small CA of its own; all trust all of them."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.common.tls import TlsFiles

_PEM = serialization.Encoding.PEM


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def make_certificates(directory: Path, names: list[str]) -> dict[str, TlsFiles]:
    """Files for each name: a leaf for 127.0.0.1 and localhost, and one bundle of all CAs."""
    bundle = directory / "bundle.pem"
    roots = b""
    files = {}
    for name in names:
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        ca = (
            _builder(f"{name} CA", f"{name} CA", ca_key.public_key())
            .add_extension(constraints, critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        hosts = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        leaf = (
            _builder(name, f"{name} CA", key.public_key())
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(ca_key, hashes.SHA256())
        )
        roots += ca.public_bytes(_PEM)
        certificate, private = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(leaf.public_bytes(_PEM))
        private.write_bytes(
            key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        files[name] = TlsFiles(certificate, private, bundle)
    bundle.write_bytes(roots)
    return files
