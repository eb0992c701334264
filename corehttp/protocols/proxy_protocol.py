"""The PROXY protocol, versions 1 and 2: what a proxy says of a connection in its first bytes. Pure.

The source is https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt ("the specification"). The header comes once,
before anything of the client, also before its TLS handshake. Whether it is there is never guessed: where one is
expected, anything else is an error: a client that could leave it out could also write one itself.
"""

import functools
import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from corehttp.protocols.entrance import UNTOLD, Origin
from corehttp.protocols.peer import Client

VERSION_1_LIMIT = 107  # bytes of the longest header of version 1, with its CR LF (specification, 2.1)
# Bytes behind the first 16 of the longest header of version 2: HAProxy sends and takes no more (tune.bufsize).
VERSION_2_LIMIT = 16384

_NAME = b"PROXY "  # how version 1 begins
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # how version 2 begins
_FIXED = 16  # bytes of a header of version 2 before the addresses
_PORT = re.compile(rb"0|[1-9][0-9]{0,4}").fullmatch

_LOCAL, _PROXY = 0, 1  # the commands of version 2
_UNSPECIFIED, _INET, _INET6, _UNIX = range(4)  # its address families
_TRANSPORTS = range(3)  # unspecified, stream, datagram
_ADDRESSES = {_INET: 12, _INET6: 36, _UNIX: 216}  # bytes of the addresses and ports of a family

_TYPE_CRC32C, _TYPE_SSL = 0x03, 0x20  # the types of what may follow the addresses (specification, 2.2)
_CLIENT_SSL = 0x01  # the bit that says that the client has connected over TLS


class ProxyHeader(NamedTuple):
    """A whole header."""

    size: int  # its bytes; what follows them is the client's
    origin: Origin  # what it says; `UNTOLD` if the addresses are to be those of the socket


def parse(data: bytes, versions: frozenset[int]) -> ProxyHeader | None:
    """Return the header with which the bytes of a connection begin; None if more bytes may still make them one.

    `versions` are those that are allowed, of 1 and 2. While the answer is None, all of `data` belongs to the header.
    Raises ValueError, whose text says what is wrong, as a verb and what follows it: "sends a PROXY header that …".
    """
    for version, begin in ((1, _NAME), (2, _SIGNATURE)):
        known = data[: len(begin)]
        if begin.startswith(known):
            if version not in versions and known == begin:
                raise ValueError(f"sends a PROXY header of version {version}")
            if len(known) < len(begin):
                return None
            return _parse_text(data) if version == 1 else _parse_binary(data)
    raise ValueError(f"begins with {data[:16]!r} and not with a PROXY header")


def _parse_text(data: bytes) -> ProxyHeader | None:
    """Return the header of version 1 with which `data` begins; None if its end has not come. Raises ValueError."""
    end = data.find(b"\r\n", 0, VERSION_1_LIMIT)
    if end < 0:
        if len(data) < VERSION_1_LIMIT:
            return None
        raise ValueError(f"sends a PROXY header of version 1 that has no end within {VERSION_1_LIMIT} bytes")
    _, family, *rest = data[:end].split(b" ")
    if family == b"UNKNOWN":
        return ProxyHeader(end + 2, UNTOLD)
    try:
        return ProxyHeader(end + 2, _told_in_text(family, *rest))
    except (ValueError, TypeError):  # TypeError: too few or too many fields
        raise ValueError(f"sends a PROXY header of version 1 that is malformed: {data[:end]!r}") from None


def _told_in_text(family: bytes, source: bytes, destination: bytes, source_port: bytes, port: bytes) -> Origin:
    """Return what the fields of a header of version 1 say. Raises ValueError."""
    makes: dict[bytes, type[IPv4Address | IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
    make = makes.get(family)
    if make is None or b"%" in source + destination:
        raise ValueError("an unknown family, or an address with a zone")
    client = (_plain(make(source.decode("ascii"))), _port(source_port))
    return Origin(client, (_plain(make(destination.decode("ascii"))), _port(port)))


def _port(text: bytes) -> int:
    """Return a port as version 1 has it, in decimal without leading zeros. Raises ValueError."""
    if _PORT(text) is None or int(text) > 65535:
        raise ValueError("no port")
    return int(text)


def _parse_binary(data: bytes) -> ProxyHeader | None:
    """Return the header of version 2 with which `data` begins; None if its end has not come. Raises ValueError."""
    if len(data) > 12 and data[12] >> 4 != 2:
        raise ValueError(f"sends a PROXY header of the unknown version {data[12] >> 4}")
    if len(data) < _FIXED:
        return None
    size = _FIXED + int.from_bytes(data[14:16])
    if size - _FIXED > VERSION_2_LIMIT:
        raise ValueError(f"sends a PROXY header of {size} bytes, of which at most {_FIXED + VERSION_2_LIMIT} are taken")
    if len(data) < size:
        return None
    command, family, transport = data[12] & 15, data[13] >> 4, data[13] & 15
    if command == _LOCAL:
        return ProxyHeader(size, UNTOLD)
    if command != _PROXY or family > _UNIX or transport not in _TRANSPORTS:
        raise ValueError(f"sends a PROXY header with an unknown command or family: 0x{data[12:14].hex()}")
    if family == _UNSPECIFIED or transport == 0:
        return ProxyHeader(size, UNTOLD)
    end = _FIXED + _ADDRESSES[family]
    if size < end:
        raise ValueError("sends a PROXY header that is too short for its addresses")
    header = data[:size]
    over_tls = _read_extensions(header, end)
    return ProxyHeader(size, _told_in_binary(family, header[_FIXED:end], over_tls=over_tls))


def _told_in_binary(family: int, addresses: bytes, *, over_tls: bool) -> Origin:
    """Return what the addresses of a header of version 2 say. A client on a unix socket has no address."""
    if family == _UNIX:
        return Origin(None, (_path(addresses[108:]), None), over_tls)
    size, make = (4, IPv4Address) if family == _INET else (16, IPv6Address)
    hosts, ports = addresses[: 2 * size], addresses[2 * size :]
    client: Client = (_plain(make(hosts[:size])), int.from_bytes(ports[:2]))
    return Origin(client, (_plain(make(hosts[size:])), int.from_bytes(ports[2:])), over_tls)


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Return an address as text; for one of IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2), that of IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def _path(name: bytes) -> str:
    """Return the path of a unix socket, or its abstract name, which begins with NUL (unix(7)); it may be empty."""
    path = name.rstrip(b"\0") if name[:1] == b"\0" else name.partition(b"\0")[0]
    return path.decode(errors="surrogateescape")


def _read_extensions(header: bytes, at: int) -> bool:
    """Read what follows the addresses of a header of version 2, from `at` on; return whether the client speaks TLS.

    What is of an unknown type is skipped. Raises ValueError for what is cut off, and for a wrong checksum.
    """
    over_tls = False
    while at < len(header):
        begin = at + 3
        end = begin + int.from_bytes(header[at + 1 : begin])
        if begin > len(header) or end > len(header):
            raise ValueError("sends a PROXY header in which an extension (TLV) is cut off")
        value = header[begin:end]
        if header[at] == _TYPE_CRC32C:
            if value != _crc32c(header[:begin] + bytes(len(value)) + header[end:]).to_bytes(4):
                raise ValueError("sends a PROXY header with a wrong checksum (CRC32c)")
        elif header[at] == _TYPE_SSL:
            if len(value) < 5:
                raise ValueError("sends a PROXY header in which the extension for TLS is too short")
            over_tls = bool(value[0] & _CLIENT_SSL)
        at = end
    return over_tls


def _crc32c(data: bytes) -> int:
    """Return the checksum CRC-32C of bytes (RFC 9260, appendix A)."""
    table = _crc32c_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> tuple[int, ...]:
    """Return what each byte adds to the checksum, by its polynomial in reflected form."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)
