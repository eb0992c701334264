"""PROXY headers: what each says, how much of what has come it takes, and what is refused."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corehttp.protocols.entrance import UNTOLD, Origin
from corehttp.protocols.peer import direct
from corehttp.protocols.proxy_protocol import VERSION_1_LIMIT, VERSION_2_LIMIT, ProxyHeader, parse
from tests.kit.proxy_headers import (
    CLIENT,
    LOCAL,
    SERVER,
    SIGNATURE,
    binary,
    extension,
    ssl_extension,
    version_1,
    version_2,
    version_2_unix,
)

BOTH = frozenset({1, 2})
CLIENT_6, SERVER_6 = ("2001:db8::7", 51234), ("2001:db8::1", 443)
TOLD, TOLD_6 = Origin(CLIENT, SERVER), Origin(CLIENT_6, SERVER_6)
LONGEST_1 = b"PROXY UNKNOWN " + b"f" * (VERSION_1_LIMIT - 16) + b"\r\n"
LONGEST_2 = version_2(extensions=extension(0xEE, bytes(VERSION_2_LIMIT - 12 - 3)))
# What `TOLD` says, with a checksum of zeros, as it is when the right one is computed.
CHECKED = bytes.fromhex("0d0a0d0a000d0a515549540a21110013cb007107c0000201c82201bb03000400000000")

HEADERS = [
    ("TCP over IPv4", version_1(), TOLD),
    ("TCP over IPv6", version_1(CLIENT_6, SERVER_6), TOLD_6),
    ("IPv4 in IPv6", b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 51234 443\r\n", TOLD),
    ("an unknown client", b"PROXY UNKNOWN\r\n", UNTOLD),
    ("an unknown client with addresses", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", UNTOLD),
    ("the longest of version 1", LONGEST_1, UNTOLD),
    ("version 2, IPv4", version_2(), TOLD),
    ("version 2, IPv6", version_2(CLIENT_6, SERVER_6), TOLD_6),
    ("version 2, IPv4 in IPv6", version_2(("::ffff:203.0.113.7", 51234), ("::ffff:192.0.2.1", 443)), TOLD),
    ("version 2, datagrams", version_2(transport=2), TOLD),
    ("version 2, an unspecified transport", version_2(transport=0), UNTOLD),
    ("a local connection", LOCAL, UNTOLD),
    ("a local connection with addresses", binary(0x20, 0x11, bytes(12)), UNTOLD),
    ("a local connection with anything", binary(0x20, 0xFF, b"\x03"), UNTOLD),
    ("an unspecified family", binary(0x21, 0x00, b""), UNTOLD),
    ("an unspecified family with more", binary(0x21, 0x00, b"more"), UNTOLD),
    ("a unix socket", version_2_unix(b"/run/lb.sock"), Origin(None, ("/run/lb.sock", None))),
    ("an abstract unix socket", version_2_unix(b"\0lb"), Origin(None, ("\0lb", None))),
    ("a unix socket without a name", version_2_unix(b""), Origin(None, ("", None))),
    ("a path of 108 bytes", version_2_unix(b"/" * 108), Origin(None, ("/" * 108, None))),
    ("a path that is no UTF-8", version_2_unix(b"/\xff"), Origin(None, ("/\udcff", None))),
    ("over TLS", version_2(extensions=ssl_extension()), Origin(CLIENT, SERVER, over_tls=True)),
    ("not over TLS", version_2(extensions=ssl_extension(0)), TOLD),
    ("over TLS, on a unix socket", version_2_unix(b"/a", ssl_extension()), Origin(None, ("/a", None), over_tls=True)),
    (
        "unknown extensions",
        version_2(extensions=extension(0xEE, b"x" * 300) + ssl_extension() + extension(0x04, b"")),
        Origin(CLIENT, SERVER, over_tls=True),
    ),
    ("the longest of version 2", LONGEST_2, TOLD),
]
WRONG = [
    (b"G", "begins with b'G' and not with a PROXY header"),
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "begins with b'GET / HTTP/1.1\\r\\n' and not with a PROXY header"),
    (b"\x16\x03\x01\x02\x00", "not with a PROXY header"),
    (b"\r\n\r\nGET", "not with a PROXY header"),
    (b"proxy TCP4", "not with a PROXY header"),
    (b"PROXYTCP4", "not with a PROXY header"),
    (b"PROXY UNKNOWN " + b"f" * 93, "no end within 107 bytes"),
    (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "no end within 107 bytes"),
    (b"PROXY UNKNOWN\n" + b"f" * 93, "no end within 107 bytes"),
    (b"PROXY \r\n", "malformed: b'PROXY '"),
    (b"PROXY TCP4\r\n", "malformed"),
    (b"PROXY TCP5 203.0.113.7 192.0.2.1 51234 443\r\n", "malformed"),
    (b"PROXY tcp4 203.0.113.7 192.0.2.1 51234 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443 \r\n", "malformed"),
    (b"PROXY TCP4  203.0.113.7 192.0.2.1 51234 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 65536\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 01 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.07 192.0.2.1 1 443\r\n", "malformed"),
    (b"PROXY TCP4 203.0.113.\xd9\xa3 192.0.2.1 1 443\r\n", "malformed"),
    (b"PROXY TCP4 2001:db8::7 192.0.2.1 1 443\r\n", "malformed"),
    (b"PROXY TCP6 203.0.113.7 192.0.2.1 1 443\r\n", "malformed"),
    (b"PROXY TCP6 fe80::1%eth0 fe80::2 1 443\r\n", "malformed"),
    (SIGNATURE + b"\x11", "the unknown version 1"),
    (SIGNATURE + b"\x31\x11\x00\x0c", "the unknown version 3"),
    (binary(0x22, 0x11, bytes(12)), "an unknown command or family: 0x2211"),
    (binary(0x21, 0x41, bytes(300)), "an unknown command or family: 0x2141"),
    (binary(0x21, 0x13, bytes(12)), "an unknown command or family: 0x2113"),
    (binary(0x21, 0x11, bytes(11)), "too short for its addresses"),
    (binary(0x21, 0x21, bytes(35)), "too short for its addresses"),
    (binary(0x21, 0x31, bytes(215)), "too short for its addresses"),
    (SIGNATURE + b"\x21\x11\x40\x01", "of 16401 bytes, of which at most 16400 are taken"),
    (version_2(extensions=b"\xee"), "an extension (TLV) is cut off"),
    (version_2(extensions=b"\xee\x00"), "an extension (TLV) is cut off"),
    (version_2(extensions=b"\xee\x00\x05four"), "an extension (TLV) is cut off"),
    (version_2(extensions=extension(0x20, b"\x01\0\0\0")), "the extension for TLS is too short"),
    (CHECKED, "a wrong checksum (CRC32c)"),
    (version_2(extensions=extension(0x03, b"\0\0\0")), "a wrong checksum (CRC32c)"),
    (version_2(extensions=extension(0x03, b"")), "a wrong checksum (CRC32c)"),
]


@pytest.mark.parametrize(("data", "origin"), [case[1:] for case in HEADERS], ids=[case[0] for case in HEADERS])
def test_a_header_is_read_once_it_is_whole_and_what_follows_is_left(data: bytes, origin: Origin) -> None:
    for rest in (b"", b"GET / HTTP/1.1\r\n", data):
        assert parse(data + rest, BOTH) == ProxyHeader(len(data), origin)
    cuts = range(len(data)) if len(data) < 1000 else (*range(40), len(data) - 1)
    assert [parse(data[:cut], BOTH) for cut in cuts] == [None] * len(cuts)


@pytest.mark.parametrize(("data", "message"), WRONG)
def test_what_is_wrong_is_refused_with_what_it_is(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse(data, BOTH)


def test_what_cannot_become_a_header_is_refused_at_its_first_wrong_byte() -> None:
    for begin in (b"PROXY ", SIGNATURE):
        for size in range(len(begin)):
            assert parse(begin[:size], BOTH) is None
            with pytest.raises(ValueError, match="not with a PROXY header"):
                parse(begin[:size] + b"!", BOTH)


def test_a_version_that_is_not_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="sends a PROXY header of version 2"):
        parse(version_2(), frozenset({1}))
    with pytest.raises(ValueError, match="sends a PROXY header of version 1"):
        parse(version_1(), frozenset({2}))
    assert parse(version_1(), frozenset({1})) == ProxyHeader(len(version_1()), TOLD)
    assert parse(version_2(), frozenset({2})) == ProxyHeader(len(version_2()), TOLD)


def test_a_checksum_is_that_of_the_whole_header_with_zeros_in_its_place() -> None:
    # Computed by the bits of the polynomial, where the parser has a table.
    register = 0xFFFFFFFF
    for byte in CHECKED:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    right = CHECKED[:-4] + (register ^ 0xFFFFFFFF).to_bytes(4)
    assert parse(right, BOTH) == ProxyHeader(len(right), TOLD)
    for at in (*range(16, 28), len(right) - 1):
        with pytest.raises(ValueError, match="wrong checksum"):
            parse(right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :], BOTH)


@given(
    st.binary(max_size=300)
    | st.binary(max_size=120).map(b"PROXY ".__add__)
    | st.builds(binary, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=300))
)
@example(b"")
def test_arbitrary_bytes_are_a_header_or_its_beginning_or_refused_in_every_cut(data: bytes) -> None:
    def outcome(size: int) -> ProxyHeader | str | None:
        try:
            return parse(data[:size], BOTH)
        except ValueError as error:
            return str(error)

    outcomes = [outcome(size) for size in range(len(data) + 1)]
    decided = next((at for at, found in enumerate(outcomes) if found is not None), len(outcomes))
    assert outcomes[:decided] == [None] * decided
    if decided < len(outcomes):
        first = outcomes[decided]
        if isinstance(first, ProxyHeader):  # further bytes belong to the client
            assert first.size == decided
            assert set(outcomes[decided:]) == {first}
        else:
            assert all(isinstance(found, str) for found in outcomes[decided:])


def test_the_peer_of_a_connection_is_whom_the_header_names() -> None:
    proxy = direct(("10.0.0.1", 4000), ("10.0.0.2", 8000), "/api")
    peer = Origin(CLIENT, SERVER).of(proxy)
    assert (peer.client, peer.server, peer.scheme, peer.root_path, peer.raw_root_path, peer.name) == (
        *(CLIENT, SERVER, "http", "/api", b"/api"),
        "203.0.113.7:51234",
    )
    assert Origin(CLIENT, SERVER, over_tls=True).of(proxy).scheme == "https"
    assert UNTOLD.of(proxy) is proxy


def test_a_client_on_a_unix_socket_of_the_proxy_has_no_address_and_is_local() -> None:
    peer = Origin(None, ("/run/lb.sock", None)).of(direct(("10.0.0.1", 4000), ("10.0.0.2", 8000)))
    assert (peer.client, peer.server, peer.name, peer.is_local) == (None, ("/run/lb.sock", None), "-", True)
