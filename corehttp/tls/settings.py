"""What the options say of TLS, as one record. Pure."""

import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from corehttp.records import record, replaced

if TYPE_CHECKING:
    from corehttp.config import Config


class KeyPair(NamedTuple):
    """A certificate and its private key, by the paths of their files in PEM form (RFC 7468)."""

    certfile: str  # the certificate of the server, then those of the authorities between it and the root
    keyfile: str | None  # None: `certfile` holds the key, too


@record
class TlsSettings:
    """How a service speaks TLS. Paths may be relative to the directory of the service."""

    pairs: tuple[KeyPair, ...]  # one or more; the first one is for clients whose server name no other one fits
    password: str | None = None  # decrypts the private keys; None: they are not encrypted
    ca_certs: str | None = None  # a file of the authorities that may have issued clients' certificates
    cert_reqs: str = "none"  # whether clients show a certificate: none, optional or required
    ciphers: str = ""  # OpenSSL's list of cipher suites up to TLS 1.2 (openssl-ciphers(1)); empty: the default
    min_version: str = "1.2"  # the least version of TLS: 1.2 or 1.3
    crl: str | None = None  # a file of certificates that their authorities have revoked
    handshake_timeout: float = 10.0  # seconds until a client must have finished its handshake


def tls_settings(config: "Config") -> TlsSettings | None:
    """Return what the options say of TLS; None for a service in cleartext."""
    if not config.ssl_certfile:
        return None
    keyfiles = config.ssl_keyfile or (None,) * len(config.ssl_certfile)
    return TlsSettings(
        pairs=tuple(map(KeyPair, config.ssl_certfile, keyfiles)),
        password=config.ssl_keyfile_password,
        ca_certs=config.ssl_ca_certs,
        cert_reqs=config.ssl_cert_reqs,
        ciphers=config.ssl_ciphers,
        min_version=config.ssl_min_version,
        crl=config.ssl_crl,
        handshake_timeout=config.ssl_handshake_timeout,
    )


def in_directory(settings: TlsSettings, directory: str) -> TlsSettings:
    """Return the same settings with absolute paths, of which relative ones begin in `directory`."""
    return relocated(settings, lambda path: posixpath.join(directory, path))


def relocated(settings: TlsSettings, place: Callable[[str], str]) -> TlsSettings:
    """Return the same settings with other paths: what `place` returns for each one."""

    def moved(path: str | None) -> str | None:
        return None if path is None else place(path)

    pairs = tuple(KeyPair(place(pair.certfile), moved(pair.keyfile)) for pair in settings.pairs)
    return replaced(settings, pairs=pairs, ca_certs=moved(settings.ca_certs), crl=moved(settings.crl))


def paths(settings: TlsSettings) -> list[str]:
    """Return the paths of all files that the settings name."""
    return [path for _, path in files(settings)]


def files(settings: TlsSettings) -> list[tuple[str, str]]:
    """Return the options that name files, each with one path; one that is repeated is there as often."""
    pairs = (named for pair in settings.pairs for named in zip(("ssl-certfile", "ssl-keyfile"), pair, strict=True))
    named = (*pairs, ("ssl-ca-certs", settings.ca_certs), ("ssl-crl", settings.crl))
    return [(option, path) for option, path in named if path is not None]
