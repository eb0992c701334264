"""Sends ranges of open files to a client over its transport's socket, without blocking the event loop.

What is in memory is read at once. What may have to come from a disk is sent, or read, in a thread for a bounded time.
While a slow client takes what was sent, a transfer waits in the event loop. So a slow disk may keep threads busy, but a
slow client keeps none.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Awaitable, Callable

from corehttp.errors import ClientDisconnectedError
from corehttp.protocols.disk import PIECE, Sending, read_now
from corehttp.protocols.file_reader import FileReader

FEW = 4 * PIECE  # bytes up to which reading from memory takes less time than a thread: 50 us against 80 for two pieces

# The errors of sendfile(2) for a file that it cannot send, though read(2) may be able to read it.
_REFUSED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE})
# The errors of a socket whose client is lost, beside those that Python calls a ConnectionError.
_UNREACHABLE = frozenset({errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})


class Transfer:
    """Sends ranges of files over one transport, one call at a time.

    `writable` waits until the transport takes more, or the connection is lost. Until `send` has ended nobody else may
    write to the transport. The transport's protocol calls `disconnect` from `connection_lost`. It may cut a client that
    takes nothing, which it sees from `sent` and `peer_socket.untaken`.

    A transfer can be cancelled at any moment, and the file closed right after. The transfer's thread ends before `send`
    does, even if the client is lost, unless a disk takes longer than `file_reader.PATIENCE` for one call. That call
    goes on with descriptors of its own, so that the client may get more of the range than `sent` says. So a connection
    whose transfer did not end by itself is to be aborted.
    """

    __slots__ = ("_loop", "_reader", "_sending", "_sent", "_transport", "_writable")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        writable: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._writable = writable
        self._reader = FileReader(loop)
        self._sending: Sending | None = None  # what a thread is sending now
        self._sent = 0  # bytes that were sent before what a thread is sending

    @property
    def sent(self) -> int:
        """How many bytes of the range the kernel has taken; or the transport, if all goes through the transport."""
        return self._sent + (self._sending.sent if self._sending is not None else 0)

    async def send(self, file: int, offset: int, count: int) -> int:
        """Send `count` bytes of `file` from `offset` on, behind what was written; answers how many were sent: fewer if
        the file ends early.

        A file without positions, such as a pipe, is sent from where it is. Raises ClientDisconnectedError if the client
        leaves, and any other OSError of reading the file.
        """
        self._sent = 0
        few = count <= PIECE or (count <= FEW and _ends_in_memory(file, offset + count))
        if not few and self._feeds_socket():
            await self._flush()
            await self._through_kernel(file, offset, count)
        await self._through_memory(file, offset, count)
        return self._sent

    async def read(self, file: int, offset: int, count: int) -> bytes:
        """Return some of the `count` bytes of `file` from `offset` on, at most PIECE of them; none at the file's end.

        For a caller that has to know the bytes before it sends them, as for chunks of a file whose size is not known.
        Raises as `send` does.
        """
        return await self._reader.read(file, offset, count)

    def disconnect(self) -> None:
        """Note that the connection is lost; `send` ends, with ClientDisconnectedError if there was more to send.

        A client that leaves as soon as it has all of a file has been served, so `send` waits for the call in which a
        thread gives the last bytes to the kernel.
        """
        self._reader.disconnect()

    def _check(self) -> None:
        """Raise ClientDisconnectedError if the connection is lost or closing."""
        # While the transport is not closing, its socket's descriptor is open and belongs to no other file.
        if self._reader.lost or self._transport.is_closing():
            raise ClientDisconnectedError("the client has disconnected")

    def _feeds_socket(self) -> bool:
        """Whether bytes may go past the transport: without TLS, on Linux, where the socket tells its queue's length."""
        transport = self._transport
        return (
            sys.platform == "linux"
            and transport.get_extra_info("sslcontext") is None
            and transport.get_extra_info("socket") is not None
        )

    def _socket(self) -> int:
        """Return the descriptor of the transport's socket; raises ClientDisconnectedError if it has none any more."""
        self._check()
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

    async def _flush(self) -> None:
        """Wait until the socket has taken all that was written to the transport."""
        transport = self._transport
        low, high = transport.get_write_buffer_limits()
        if transport.get_write_buffer_size():
            self._check()
            transport.set_write_buffer_limits(0)
            try:
                while transport.get_write_buffer_size():
                    await self._writable()
                    self._check()
            finally:
                if not transport.is_closing():
                    transport.set_write_buffer_limits(high, low)

    async def _through_kernel(self, file: int, offset: int, count: int) -> None:
        """Send with sendfile(2) to the end of the range or the file; nothing if sendfile(2) cannot send this file."""
        loop = self._loop
        while self._sent < count:
            self._sending = sending = Sending(offset + self._sent, count - self._sent)
            try:
                await self._reader.in_thread(sending, self._socket(), file, sending=sending)
            except OSError as error:
                if error.errno in _REFUSED:
                    return
                if _is_loss(error):
                    raise ClientDisconnectedError("the client has disconnected") from error
                raise
            finally:
                self._sending = None
                self._sent += sending.sent
            if sending.full:
                await self._reader.wait_ready(self._socket(), loop.add_writer, loop.remove_writer)
            elif sending.ended:
                return

    async def _through_memory(self, file: int, offset: int, count: int) -> None:
        """Read and write pieces to the end of the range or the file."""
        while self._sent < count:
            self._check()
            piece = await self._reader.read(file, offset + self._sent, count - self._sent)
            if not piece:
                return
            self._check()
            if self._feeds_socket():
                await self._hand_over(piece)
            else:
                self._transport.write(piece)
                self._sent += len(piece)
                await self._writable()
            if self._sent < count:
                await asyncio.sleep(0)  # others have a turn, however fast this client is

    async def _hand_over(self, piece: bytes) -> None:
        """Write a piece to the socket itself, since what a transport holds when the client leaves cannot be counted."""
        await self._flush()
        rest = memoryview(piece)
        while rest:
            try:
                size = os.write(self._socket(), rest)
            except BlockingIOError:
                await self._reader.wait_ready(self._socket(), self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                if _is_loss(error):
                    raise ClientDisconnectedError("the client has disconnected") from error
                raise
            else:
                self._sent += size
                rest = rest[size:]


def _is_loss(error: OSError) -> bool:
    """Whether an error of a socket means that its client is gone."""
    return isinstance(error, ConnectionError) or error.errno in _UNREACHABLE


def _ends_in_memory(file: int, end: int) -> bool:
    """Whether the last byte before `end` is in memory; then most likely all bytes before it are."""
    return read_now(file, end - 1, 1) is not None
