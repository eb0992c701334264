"""PROXY headers as proxies send them, made independently of the parser (specification, 2.1 and 2.2)."""

import socket
import struct
from ipaddress import ip_address

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"  # as in a health check
CLIENT = ("203.0.113.7", 51234)
SERVER = ("192.0.2.1", 443)


def version_1(client: tuple[str, int] = CLIENT, server: tuple[str, int] = SERVER) -> bytes:
    family = "TCP6" if ":" in client[0] else "TCP4"
    return f"PROXY {family} {client[0]} {server[0]} {client[1]} {server[1]}\r\n".encode()


def version_2(
    client: tuple[str, int] = CLIENT, server: tuple[str, int] = SERVER, extensions: bytes = b"", transport: int = 1
) -> bytes:
    hosts = b"".join(ip_address(host).packed for host, _ in (client, server))
    family = (2 if len(hosts) == 32 else 1) << 4 | transport
    return binary(0x21, family, hosts + struct.pack("!HH", client[1], server[1]) + extensions)


def version_2_unix(server: bytes, extensions: bytes = b"") -> bytes:
    return binary(0x21, 0x31, bytes(108) + server.ljust(108, b"\0") + extensions)


def binary(command: int, family: int, content: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(content)) + content


def extension(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def ssl_extension(client: int = 1) -> bytes:
    """That of a client who has connected over TLS 1.3, if `client` is 1, and shows no certificate."""
    return extension(0x20, struct.pack("!BI", client, 1) + extension(0x21, b"TLSv1.3"))


def reset(sock: socket.socket) -> bool:
    """Whether the other end has cut a connection: it ends, or is reset, without another byte."""
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True
