"""A client on a bare socket: it sees exactly how a connection ends."""

import contextlib
import select
import socket
import struct
from collections.abc import Iterator
from typing import Self

from tests.kit.server_process import PATIENCE


@contextlib.contextmanager
def connections(count: int, port: int) -> Iterator[list["RawConnection"]]:
    """So many connections, all of which are closed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RawConnection(port)) for _ in range(count)]


class RawConnection:
    """One connection to a server: a port of 127.0.0.1, or the path of a unix socket.

    A reset raises ConnectionResetError. `receive_buffer` is how many bytes the kernel keeps for us, about.
    """

    def __init__(self, server: int | str, receive_buffer: int | None = None) -> None:
        address, family = (
            (server, socket.AF_UNIX) if isinstance(server, str) else (("127.0.0.1", server), socket.AF_INET)
        )
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    @property
    def port(self) -> int:
        """Our own."""
        port: int = self.socket.getsockname()[1]
        return port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.socket.close()

    def ask(self, path: str, *fields: str) -> None:
        """Send a GET request."""
        self.send(f"GET {path} HTTP/1.1", "host: 127.0.0.1", *fields, "")

    def answer(self) -> tuple[bytes, bytes]:
        """Head and body of the next response, which must be whole and have a Content-Length; EOFError if it is not."""
        head, _, self._received = self._until(b"\r\n\r\n").partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(self._received) < length:
            self._receive()
        body, self._received = self._received[:length], self._received[length:]
        return head, body

    def get(self, path: str) -> tuple[bytes, bytes]:
        self.ask(path)
        return self.answer()

    def send(self, *lines: str) -> None:
        """Send these lines."""
        self.socket.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def has_answer(self) -> bool:
        """Whether something has come already, or comes in a moment."""
        return bool(self._received or select.select([self.socket], [], [], 0.05)[0])

    def wait_for(self, text: bytes) -> None:
        """Until the server has sent `text`, which stays to be read."""
        self._until(text)

    def read_past(self, text: bytes) -> bytes:
        """All up to the end of `text`, once the server has sent it."""
        before, found, self._received = self._until(text).partition(text)
        return before + found

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        while len(self._received) < size:
            self._receive()
        data, self._received = self._received[:size], self._received[size:]
        return data

    def reset(self) -> None:
        """End the connection with a reset (socket(7), SO_LINGER)."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def rest(self) -> bytes:
        """All that comes until the server ends the connection."""
        while True:
            try:
                self._receive()
            except EOFError:
                return self._received

    def _until(self, text: bytes) -> bytes:
        while text not in self._received:
            self._receive()
        return self._received

    def _receive(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the server ended the connection after {self._received!r}")
        self._received += data
