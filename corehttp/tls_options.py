"""The kinds of the options of TLS, and which of these exclude or need each other. Pure."""

from collections.abc import Mapping
from typing import Any, Protocol

from corehttp.errors import ConfigError
from corehttp.option_kinds import OptionKind, choice, plain_text

# The words, by the numbers that the module `ssl` and other servers have for them (ssl.VerifyMode).
_CERT_REQS = ("none", "optional", "required")
_REQUIREMENT = choice(*_CERT_REQS, **{str(number): word for number, word in enumerate(_CERT_REQS)})


def _cert_reqs(value: object) -> object:
    """Return whether clients show a certificate, of which a number is taken as its word."""
    return _REQUIREMENT.parse(str(int(value)) if isinstance(value, int) and not isinstance(value, bool) else value)


def _password(value: object) -> str | None:
    """Return a password as it was given; None if there is none."""
    return None if value is None else plain_text(value)


CERT_REQS = _REQUIREMENT._replace(parse=_cert_reqs)
PASSWORD = OptionKind(_password, "text", placeholder="SECRET", conceal=lambda _: "secret")
# What is of no use in cleartext.
_NEED_CERTIFICATE = (
    "ssl_keyfile",
    "ssl_keyfile_password",
    "ssl_ca_certs",
    "ssl_cert_reqs",
    "ssl_ciphers",
    "ssl_min_version",
    "ssl_crl",
    "ssl_handshake_timeout",
    "redirect_http",
)


class TlsOptions(Protocol):
    """What a configuration says of clients' certificates."""

    @property
    def ssl_ca_certs(self) -> str | None:
        """The file of the authorities that may have issued them."""

    @property
    def ssl_cert_reqs(self) -> str:
        """Whether clients have to show one: none, optional or required."""


def check_tls(values: Mapping[str, Any], defaults: Mapping[str, object]) -> None:
    """Raise ConfigError if options of TLS exclude each other, or miss one that they need."""
    certificates, keys = len(values["ssl_certfile"]), len(values["ssl_keyfile"])
    if not certificates:
        for name in _NEED_CERTIFICATE:
            if values[name] != defaults[name]:
                raise ConfigError(f"{name.replace('_', '-')} needs ssl-certfile, the certificate of the service")
        return
    if keys not in (0, certificates):
        raise ConfigError(
            f"ssl-keyfile is given {keys} times and ssl-certfile {certificates} times: give a key for each "
            "certificate, in the same order, or none, where the files of the certificates hold the keys too"
        )
    if values["ssl_cert_reqs"] == "none":
        if values["ssl_crl"] is not None:
            raise ConfigError("ssl-crl needs ssl-cert-reqs optional or required: no client is asked for a certificate")
    elif values["ssl_ca_certs"] is None:
        raise ConfigError(
            f"ssl-cert-reqs {values['ssl_cert_reqs']} needs ssl-ca-certs, a file of the authorities that may have "
            "issued clients' certificates"
        )
    if not values["ssl_handshake_timeout"]:
        raise ConfigError("ssl-handshake-timeout: 0 is too short: a client that never finishes would stay for good")
    _check_sticky(values["sticky"])


def tls_doubts(config: TlsOptions) -> list[str]:
    """Return lines about options of TLS that are allowed, and may not be what was meant."""
    if config.ssl_ca_certs is not None and config.ssl_cert_reqs == "none":
        return ["ssl-ca-certs: no client is asked for a certificate; add --ssl-cert-reqs optional or required"]
    return []


def _check_sticky(rules: tuple[str, ...]) -> None:
    """Raise ConfigError if requests are tied to workers by what is encrypted: a connection over TLS cannot move."""
    for rule in rules:
        if rule != "ip":
            raise ConfigError(
                f"sticky {rule} excludes ssl-certfile: a request is read after the handshake, and then its connection "
                "cannot move to another worker; use sticky ip, or have a proxy in front end TLS"
            )
