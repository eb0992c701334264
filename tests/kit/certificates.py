"""Certificates for tests: an authority, what it issues, and what it revokes; keys are on P-256 unless they are RSA."""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_AUTHORITY_USAGE = x509.KeyUsage(
    *(False, False, False, False, False),
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
NOW = datetime.now(UTC).replace(microsecond=0)


class Issued:
    """A certificate with its key."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self.pem = certificate.public_bytes(Encoding.PEM)
        self._key = key

    def key(self, password: str = "") -> bytes:
        """Return the key in PEM, encrypted if there is a password."""
        encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def write(self, directory: Path, name: str = "tls", password: str = "") -> tuple[str, str]:
        """Write both into a directory as Kubernetes names them, and return the paths of certificate and key."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.crt").write_bytes(self.pem)
        (directory / f"{name}.key").write_bytes(self.key(password))
        return str(directory / f"{name}.crt"), str(directory / f"{name}.key")


class Authority:
    """An authority that issues certificates, and revokes them."""

    def __init__(self, name: str = "tests") -> None:
        self._name = _subject(f"authority of {name}")
        self._key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._name, self._key, NOW - timedelta(days=1), NOW + timedelta(days=3650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_AUTHORITY_USAGE, critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
        )
        self.pem = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, *names: str, days: float = 90, common_name: str = "", is_rsa: bool = False) -> Issued:
        """Issue a certificate for host names and IP addresses that ends in `days`; less than 0 makes an expired one."""
        key = _rsa_key() if is_rsa else ec.generate_private_key(ec.SECP256R1())
        end = NOW + timedelta(days=days)
        subject = _subject(common_name or "a server")
        builder = _builder(subject, self._name, key, min(NOW, end) - timedelta(days=1), end)
        # Clients that are strict, as those of Python 3.13 are by default, ask for this (RFC 5280, 4.2.1.1).
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(authority, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
        return Issued(builder.sign(self._key, hashes.SHA256()), key)

    def revoke(self, revoked: Iterable[Issued] = (), days: float = 7) -> bytes:
        """Return the list of revoked certificates in PEM; the next one is to come in `days`."""
        end = NOW + timedelta(days=days)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(min(NOW, end) - timedelta(days=1)).next_update(end)
        for issued in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(issued.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(begin).not_valid_after(end)
