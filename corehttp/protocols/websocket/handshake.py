"""The opening handshake of a WebSocket (RFC 6455, 4) and its compression (RFC 7692, 7). Pure."""

import base64
import binascii
import hashlib

from corehttp.errors import PeerError
from corehttp.protocols.fields import elements, is_token
from corehttp.records import record

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BITS = {b"%d" % bits: bits for bits in range(8, 16)}

# What the answer to another version of the protocol says (RFC 6455, 4.4; RFC 9110, 15.5.22).
VERSION_FIELDS = ((b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))


@record
class Deflate:
    """permessage-deflate as it was agreed on (RFC 7692, 7.1)."""

    inflate_bits: int  # the window of the client's messages has 2 ** inflate_bits bytes
    inflate_anew: bool  # whether each message of the client is compressed by itself
    deflate_bits: int  # the window of the server's messages has 2 ** deflate_bits bytes
    deflate_anew: bool  # whether each message of the server is compressed by itself
    answer: bytes  # the value of the server's Sec-WebSocket-Extensions field


@record
class Handshake:
    """What an opening handshake without a fault asks for."""

    accept: bytes  # the value of the server's Sec-WebSocket-Accept field
    subprotocols: list[str]  # those that the client offers, the one that it likes most first
    deflate: Deflate | None  # the compression if the server accepts it; None: no compression


def examine(
    method: str, version: str, headers: list[tuple[bytes, bytes]], fields: dict[bytes, bytes], compression: str
) -> Handshake | None:
    """Return the handshake in a request with an Upgrade field; None if there is none, and it is to be served as HTTP.

    `fields` has the same fields as `headers`, by name. `compression` is "off", "small" or "full". Raises PeerError: 400
    for a wrong handshake, 426 for another version of the protocol than 13 (RFC 6455, 4.4).
    """
    if method != "GET" or version != "1.1":
        return None
    if b"websocket" not in _tokens(headers, b"upgrade") or b"upgrade" not in _tokens(headers, b"connection"):
        return None
    if fields.get(b"content-length", b"0").strip(b"0") or b"transfer-encoding" in fields:
        raise PeerError(400, "a WebSocket handshake must not have a body")
    for name in (b"sec-websocket-key", b"sec-websocket-version"):
        if sum(field == name for field, _ in headers) != 1:
            raise PeerError(400, f"a WebSocket handshake needs one {name.decode()} field")
    if fields[b"sec-websocket-version"] != b"13":
        raise PeerError(426, "the only WebSocket version served is 13", VERSION_FIELDS)
    key = fields[b"sec-websocket-key"]
    if not _is_key(key):
        raise PeerError(400, "the field sec-websocket-key must be 16 bytes in base64")
    return Handshake(accept_value(key), _subprotocols(headers), _choose(headers, compression))


def accept_value(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept that proves to have understood a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def _is_key(key: bytes) -> bool:
    """Whether `key` is 16 bytes in base64 (RFC 6455, 4.1)."""
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _tokens(headers: list[tuple[bytes, bytes]], name: bytes) -> set[bytes]:
    """Return the elements of the field `name`, in lower case."""
    return {token.lower() for token in elements(headers, name)}


def _subprotocols(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """Return the subprotocols that a client offers; raises PeerError (400) unless they are different tokens."""
    offered = elements(headers, b"sec-websocket-protocol")
    if offered == [b""]:
        return []
    if not all(map(is_token, offered)) or len(set(offered)) != len(offered):
        raise PeerError(400, "the field sec-websocket-protocol must be a list of different tokens")
    return [token.decode() for token in offered]


def _choose(headers: list[tuple[bytes, bytes]], compression: str) -> Deflate | None:
    """Return what is agreed on: the first of the offers that can be met (RFC 7692, 5.1), or None."""
    if compression == "off":
        return None
    for offer in elements(headers, b"sec-websocket-extensions"):
        name, *parameters = (part.strip(b" \t") for part in offer.split(b";"))
        if name == b"permessage-deflate":
            agreed = _agree(parameters, compression)
            if agreed is not None:
                return agreed
    return None


def _agree(parameters: list[bytes], compression: str) -> Deflate | None:
    """Return what meets one offer; None if the offer is wrong, or cannot be met (RFC 7692, 7.1)."""
    given: dict[bytes, bytes | None] = {}
    for parameter in parameters:
        name, has_value, value = (part.strip(b" \t") for part in parameter.partition(b"="))
        if name in given:
            return None
        given[name] = value.strip(b'"') if has_value else None
    # zlib cannot deflate with a window of 2^8 bytes (zlib.h, "deflateInit2").
    widest = 12 if compression == "small" else 15
    deflate_bits, inflate_bits = widest, 15
    deflate_anew = inflate_anew = compression == "small"
    for name, bits in given.items():
        match name:
            case b"server_no_context_takeover" if bits is None:
                deflate_anew = True
            case b"client_no_context_takeover" if bits is None:
                inflate_anew = True
            case b"server_max_window_bits" if bits in _BITS and bits != b"8":
                deflate_bits = min(deflate_bits, _BITS[bits])
            case b"client_max_window_bits" if bits is None or bits in _BITS:
                inflate_bits = widest if bits is None else min(widest, _BITS[bits])
            case _:
                return None
    answer = [b"permessage-deflate"]
    answer += [b"server_no_context_takeover"] if deflate_anew else []
    answer += [b"client_no_context_takeover"] if inflate_anew else []
    if deflate_bits < 15:
        answer.append(b"server_max_window_bits=%d" % deflate_bits)
    if inflate_bits < 15:
        answer.append(b"client_max_window_bits=%d" % inflate_bits)
    return Deflate(inflate_bits, inflate_anew, deflate_bits, deflate_anew, b"; ".join(answer))
