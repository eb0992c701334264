"""The opening handshake: what it means, every refusal, and how compression is negotiated."""

import pytest

from corehttp.errors import PeerError
from corehttp.protocols.websocket.handshake import Deflate, Handshake, accept_value, examine
from tests.kit.apps import answer, hello
from tests.kit.fakes import LINES, Client, MakeParser
from tests.kit.websocket_client import KEY, PROOF, handshake, websocket_context

Headers = list[tuple[bytes, bytes]]
RIGHT: dict[bytes, bytes] = {
    b"host": b"a",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-version": b"13",
    b"sec-websocket-key": KEY,
}


def examined(
    *more: tuple[bytes, bytes], method: str = "GET", version: str = "1.1", compression: str = "off", **changed: bytes
) -> Handshake | None:
    """Return a handshake without a fault but for the fields that are given, named with underscores; "" removes one."""
    fields = RIGHT | {name.replace("_", "-").encode(): value for name, value in changed.items()}
    headers: Headers = [(name, value) for name, value in fields.items() if value] + list(more)
    return examine(method, version, headers, dict(headers), compression)


def test_the_proof_is_that_of_the_specifications_example() -> None:
    assert accept_value(KEY) == PROOF


def test_a_right_handshake() -> None:
    assert examined() == Handshake(PROOF, [], None)


@pytest.mark.parametrize(
    ("upgrade", "connection"),
    [
        (b"WebSocket", b"upgrade"),
        (b"h2c, websocket", b"keep-alive, Upgrade"),
        (b"websocket\t,h2c", b"UPGRADE ,\tkeep-alive"),
    ],
)
def test_the_tokens_may_be_in_lists_and_in_any_case(upgrade: bytes, connection: bytes) -> None:
    assert examined(upgrade=upgrade, connection=connection) is not None


def test_the_tokens_may_be_in_a_further_field_of_the_name() -> None:
    assert examined((b"connection", b"Upgrade"), (b"upgrade", b"websocket"), upgrade=b"h2c", connection=b"x")


@pytest.mark.parametrize(
    "handshake",
    [
        examined(method="POST"),
        examined(method="HEAD"),
        examined(version="1.0"),
        examined(upgrade=b"h2c"),
        examined(upgrade=b"websocket2"),
        examined(upgrade=b""),
        examined(connection=b"keep-alive"),
        examined(connection=b"upgrades"),
        examined(connection=b""),
        examined(method="POST", sec_websocket_version=b"8", sec_websocket_key=b"x"),
    ],
    ids=[
        "POST",
        "HEAD",
        "HTTP/1.0",
        "h2c",
        "another token",
        "no upgrade",
        "keep-alive",
        "another option",
        "no connection",
        "wrong, but no handshake",
    ],
)
def test_what_is_no_opening_handshake_is_left_to_http(handshake: Handshake | None) -> None:
    assert handshake is None


@pytest.mark.parametrize(
    ("more", "changed", "status", "reason"),
    [
        ([], {"content_length": b"1"}, 400, "must not have a body"),
        ([], {"content_length": b"010"}, 400, "must not have a body"),
        ([], {"transfer_encoding": b"chunked"}, 400, "must not have a body"),
        ([], {"sec_websocket_key": b""}, 400, "one sec-websocket-key field"),
        ([(b"sec-websocket-key", KEY)], {}, 400, "one sec-websocket-key field"),
        ([], {"sec_websocket_version": b""}, 400, "one sec-websocket-version field"),
        ([(b"sec-websocket-version", b"13")], {}, 400, "one sec-websocket-version field"),
        ([], {"sec_websocket_version": b"8"}, 426, "the only WebSocket version served is 13"),
        ([], {"sec_websocket_version": b"13, 8"}, 426, "the only WebSocket version served is 13"),
        ([], {"sec_websocket_version": b"013"}, 426, "the only WebSocket version served is 13"),
        ([], {"sec_websocket_key": b"x"}, 400, "16 bytes in base64"),
        ([], {"sec_websocket_key": b"AAAAAAAAAAAAAAAAAAAAAAAA"}, 400, "16 bytes in base64"),
        ([], {"sec_websocket_key": b"AAAAAAAAAAAAAAAAAAAA===="}, 400, "16 bytes in base64"),
        ([], {"sec_websocket_key": b"AAAAAAAAAAAAAAAAAAAAA\xff=="}, 400, "16 bytes in base64"),
        ([], {"sec_websocket_key": b"dGhlIHNhbXBsZSBub25j-_=="}, 400, "16 bytes in base64"),
        ([], {"sec_websocket_protocol": b"a b"}, 400, "list of different tokens"),
        ([], {"sec_websocket_protocol": b"a,,b"}, 400, "list of different tokens"),
        ([], {"sec_websocket_protocol": b"a, b, a"}, 400, "list of different tokens"),
        ([(b"sec-websocket-protocol", b"a")], {"sec_websocket_protocol": b"a"}, 400, "list of different tokens"),
    ],
)
def test_a_wrong_handshake_is_refused(more: Headers, changed: dict[str, bytes], status: int, reason: str) -> None:
    with pytest.raises(PeerError, match=reason) as caught:
        examined(*more, method="GET", version="1.1", compression="off", **changed)
    assert caught.value.status == status


def test_an_empty_body_is_none() -> None:
    assert examined(content_length=b"0") is not None


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ([], []),
        ([b"chat"], ["chat"]),
        ([b"chat, superchat"], ["chat", "superchat"]),
        ([b"chat,\tsuperchat", b"v2.x"], ["chat", "superchat", "v2.x"]),
        ([b"Chat, chat"], ["Chat", "chat"]),
    ],
)
def test_the_subprotocols_are_in_the_clients_order(fields: list[bytes], offered: list[str]) -> None:
    found = examined(*[(b"sec-websocket-protocol", value) for value in fields])
    assert found is not None
    assert found.subprotocols == offered


# Compression (RFC 7692, 7.1).

PMD = b"permessage-deflate"
SMALL = b"; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"


def deflate(offer: bytes, compression: str) -> Deflate | None:
    found = examined((b"sec-websocket-extensions", offer), compression=compression)
    assert found is not None
    return found.deflate


@pytest.mark.parametrize(
    ("compression", "offer", "agreed"),
    [
        ("full", b"", Deflate(15, False, 15, False, b"")),
        ("full", b"; client_max_window_bits", Deflate(15, False, 15, False, b"")),
        ("full", b"; client_max_window_bits=10", Deflate(10, False, 15, False, b"; client_max_window_bits=10")),
        ("full", b"; server_max_window_bits=9", Deflate(15, False, 9, False, b"; server_max_window_bits=9")),
        ("full", b';server_max_window_bits="10"', Deflate(15, False, 10, False, b"; server_max_window_bits=10")),
        ("full", b"; server_max_window_bits=15", Deflate(15, False, 15, False, b"")),
        ("full", b"; server_no_context_takeover", Deflate(15, False, 15, True, b"; server_no_context_takeover")),
        ("full", b"; client_no_context_takeover", Deflate(15, True, 15, False, b"; client_no_context_takeover")),
        ("small", b"", Deflate(15, True, 12, True, SMALL)),
        ("small", b"; client_max_window_bits", Deflate(12, True, 12, True, SMALL + b"; client_max_window_bits=12")),
        ("small", b"; client_max_window_bits=9", Deflate(9, True, 12, True, SMALL + b"; client_max_window_bits=9")),
        ("small", b"; client_max_window_bits=15", Deflate(12, True, 12, True, SMALL + b"; client_max_window_bits=12")),
        ("small", b"; server_max_window_bits=10", Deflate(15, True, 10, True, SMALL[:-2] + b"10")),
    ],
)
def test_an_offer_that_can_be_met(compression: str, offer: bytes, agreed: Deflate) -> None:
    expected = Deflate(
        agreed.inflate_bits, agreed.inflate_anew, agreed.deflate_bits, agreed.deflate_anew, PMD + agreed.answer
    )
    assert deflate(PMD + offer, compression) == expected


@pytest.mark.parametrize(
    "offer",
    [
        b"",
        b"permessage-bzip2",
        b"x-webkit-deflate-frame",
        PMD + b"; unknown",
        PMD + b"; unknown=1",
        PMD + b"; server_no_context_takeover=1",
        PMD + b"; client_no_context_takeover=",
        PMD + b"; server_no_context_takeover; server_no_context_takeover",
        PMD + b"; server_max_window_bits",
        PMD + b"; server_max_window_bits=8",
        PMD + b"; server_max_window_bits=16",
        PMD + b"; server_max_window_bits=07",
        PMD + b"; client_max_window_bits=7",
        PMD + b"; client_max_window_bits=+9",
        PMD + b"; client_max_window_bits=9; client_max_window_bits",
        PMD + b";",
    ],
)
@pytest.mark.parametrize("compression", ["small", "full"])
def test_an_offer_that_cannot_be_met_is_declined(compression: str, offer: bytes) -> None:
    assert deflate(offer, compression) is None


def test_the_first_offer_that_can_be_met_is_taken() -> None:
    offers = b"permessage-bzip2, permessage-deflate; server_max_window_bits=8, permessage-deflate; "
    taken = deflate(offers + b"server_max_window_bits=10, permessage-deflate", "full")
    assert taken is not None
    assert taken.deflate_bits == 10


def test_nothing_is_agreed_on_where_compression_is_off() -> None:
    assert deflate(PMD, "off") is None


# Over a connection.


def refused(status: bytes, reason: bytes, fields: bytes = b"") -> bytes:
    plain = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(reason)
    return b"HTTP/1.1 %b\r\n%b%b%bconnection: close\r\n\r\n%b" % (status, plain, fields, LINES, reason)


async def test_another_version_is_refused_and_13_is_named(parser: MakeParser) -> None:
    client = Client(websocket_context(hello, parser))
    await client.send(handshake().replace(b"Version: 13", b"Version: 8"))
    reason = b"the only WebSocket version served is 13\n"
    fields = b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
    assert client.received == refused(b"426 Upgrade Required", reason, fields)
    assert client.closed


async def test_a_wrong_key_is_refused(parser: MakeParser) -> None:
    client = Client(websocket_context(hello, parser))
    await client.send(handshake().replace(KEY, b"x"))
    reason = b"the field sec-websocket-key must be 16 bytes in base64\n"
    assert client.received == refused(b"400 Bad Request", reason)
    assert client.closed


async def test_a_handshake_needs_a_host_as_every_request_does(parser: MakeParser) -> None:
    client = Client(websocket_context(hello, parser))
    await client.send(handshake().replace(b"Host: a\r\n", b""))
    assert client.received == refused(b"400 Bad Request", b"an HTTP/1.1 request needs a Host field\n")


async def test_what_is_no_handshake_is_served_as_http_and_the_next_request_follows(parser: MakeParser) -> None:
    client = Client(websocket_context(hello, parser))
    await client.send(handshake().replace(b"Upgrade: websocket", b"Upgrade: h2c") * 2)
    assert client.received == answer(b"hello") * 2
    assert not client.closed
