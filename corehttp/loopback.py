"""Which addresses are those of the loopback, which only this machine reaches (RFC 5735, 3; RFC 4291, 2.5.3). Pure."""

from corehttp.patterns import pattern

_LOOPBACK = pattern(r"127(\.[0-9]{1,3}){3}|\[?::1\]?|\[?::ffff:127(\.[0-9]{1,3}){3}\]?")


def is_loopback(address: str) -> bool:
    """Whether an address, which may be in brackets, is one of the loopback. Names, `localhost` too, are none."""
    return _LOOPBACK().fullmatch(address) is not None
