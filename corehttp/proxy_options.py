"""The kinds of the options that say which proxies are trusted, and with what; what these options need. Pure."""

from collections.abc import Mapping
from typing import Any

from corehttp.bind_option import PROXY_VERSIONS, proxy_protocols
from corehttp.errors import ConfigError
from corehttp.option_kinds import OptionKind, choice, plain_text
from corehttp.protocols.field_names import FORWARDED, IN_FORWARDED, PROXY_FIELDS

THIS_MACHINE = "127.0.0.1,::1,unix"


def _trust(value: object) -> str:
    """Return who is trusted, as `protocols.peer.Trust` takes it; a file may give a list."""
    if isinstance(value, list | tuple):
        value = ",".join(map(plain_text, value))
    text = plain_text(value)
    if text != THIS_MACHINE:
        from corehttp.protocols.peer import Trust  # imported here, because it takes the supervisor 0.5 MB

        Trust(text)
    return text


def _fields(value: object) -> str:
    """Return which fields a proxy writes, as `protocols.peer.Trust` takes them; a file may give a list."""
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise ValueError
    words = [plain_text(word).strip().lower().removeprefix("x-forwarded-") for word in words]
    known = {FORWARDED, *PROXY_FIELDS.split(",")}
    if not set(words) <= (known.difference(IN_FORWARDED) if FORWARDED in words else known):
        raise ValueError
    return ",".join(words)


def check_proxy_protocol(values: Mapping[str, Any], defaults: Mapping[str, object]) -> None:
    """Raise ConfigError if options of the PROXY protocol are given where no bind has it, or it excludes another one."""
    expected = any(proxy_protocols(values["bind"], values["proxy_protocol"]))
    for name in ("proxy_allow_from", "proxy_protocol_timeout"):
        if values[name] != defaults[name] and not expected:
            raise ConfigError(f"{name.replace('_', '-')} needs proxy-protocol, or a bind with ,proxy-protocol=")
    if expected and values["debug_exceptions"]:
        raise ConfigError("debug-exceptions and proxy-protocol exclude each other: a proxy may not know its client")


PROXY_PROTOCOL = choice(*PROXY_VERSIONS)
TRUST = OptionKind(
    _trust,
    "a list with commas of addresses, networks (as 10.0.0.0/8, with no bits beyond the prefix), unix, or *",
    takes_nothing=True,
)
FORWARDED_FIELDS = OptionKind(
    _fields,
    "a list with commas of for, proto, host, port, prefix, or of forwarded (RFC 7239; it says the first three), port, "
    "prefix",
)
