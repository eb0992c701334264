"""Ports for tests that must know a port before anybody listens on it; the others let the kernel choose one (port 0)."""

import contextlib
import random
import socket

# The kernel gives none of these to a client by itself (ip_local_port_range, ip(7)), so that only another test could
# take a port before the one that was told of it, which would have to choose the same of ten thousand at the same time.
_FIRST, _END = 20000, 30000
_ONLY_ROOT = range(600, 1024)  # ports that only root may bind (and no well-known service of a machine for tests has)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has, one after the other."""
    for _ in range(1000):
        first = random.randrange(_FIRST, _END - count)
        ports = list(range(first, first + count))
        if all(map(_is_free, ports)):
            return ports
    raise AssertionError("no ports are free")


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has."""
    [port] = free_ports(1)
    return port


def free_low_port() -> int:
    """Return a port of 127.0.0.1 that nobody has and only root may bind."""
    for port in random.sample(_ONLY_ROOT, len(_ONLY_ROOT)):
        if _is_free(port):
            return port
    raise AssertionError("no port below 1024 is free")


def _is_free(port: int) -> bool:
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.bind(("127.0.0.1", port))
        return True
    return False
