"""What differs on Windows, where one worker serves without a supervisor: the one home of these differences.

Python has there no unix sockets, no poll(2), no flags for single calls of a socket, and fewer flags of open(2). What is
imported from here is the real thing on every other system. On Windows it is a stand-in that does the same as far as one
worker needs it, or a number that no socket has and no file is opened with. Options for what is not there are refused by
`windows_options` before anything is served. Functions that only they lead to raise NotImplementedError there, so that
the type checker knows that the rest of them is for other systems (`make types`).
"""

import errno
import os
import select
import socket
import sys

if sys.platform != "win32":
    AF_UNIX = int(socket.AF_UNIX)
    MSG_DONTWAIT = int(socket.MSG_DONTWAIT)
    POLLIN, POLLOUT, POLLHUP = select.POLLIN, select.POLLOUT, select.POLLHUP
    poll = select.poll
    # To open a file without waiting for another process, without becoming its terminal's, and for this process alone.
    O_PLAIN = os.O_CLOEXEC | os.O_NONBLOCK
    O_NOCTTY = os.O_NOCTTY
    EXCLUSIVE = 0
    MOST_CONNECTIONS = 0
    ACCEPT_RESET: frozenset[int] = frozenset()
    FORBIDDEN_PORT = "needs privileges; choose a --port of 1024 or more"

    def shows_colours(fd: int) -> bool:
        """Return whether a descriptor is a terminal, which takes escape sequences for colours (ECMA-48)."""
        return os.isatty(fd)

    def user() -> str:
        """Return the number of the user that this process acts as, for messages."""
        return str(os.geteuid())

else:
    AF_UNIX = -2  # the family of no socket
    MSG_DONTWAIT = 0
    POLLIN, POLLOUT, POLLHUP = 1, 4, 16
    O_PLAIN = os.O_BINARY | os.O_NOINHERIT  # without O_BINARY a line's end would be written as two bytes
    O_NOCTTY = 0
    # Set for a socket before it is bound, so that no other server can take its port ("Using SO_REUSEADDR and
    # SO_EXCLUSIVEADDRUSE" in the documentation of Windows Sockets). SO_REUSEADDR, which elsewhere only passes over old
    # connections, would share the port there with whoever sets it too.
    EXCLUSIVE = socket.SO_EXCLUSIVEADDRUSE
    # The most connections at once: the event loop waits with select(2), which takes 512 sockets on Windows (`asyncio`,
    # "Platform Support", in the library reference). The rest is for the listening sockets and for the application.
    MOST_CONNECTIONS = 448
    # The error of accept() for a client that is gone already: WSAECONNRESET ("accept function" in the documentation).
    ACCEPT_RESET = frozenset({errno.ECONNRESET})
    # What bind() says with WSAEACCES ("Windows Sockets Error Codes"). No port needs privileges there.
    FORBIDDEN_PORT = (
        "is in use by another server, or Windows has reserved it (netsh interface ipv4 show excludedportrange tcp); "
        "choose another --port"
    )

    class poll:  # noqa: N801
        """Does for sockets with select(2) what `select.poll` does; an end shows as something to be read."""

        def __init__(self) -> None:
            self._watched: dict[int, int] = {}

        def register(self, fd: socket.socket | int, eventmask: int = POLLIN, /) -> None:
            """Watch a socket, or its number, for these events."""
            self._watched[fd if isinstance(fd, int) else fd.fileno()] = eventmask

        def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
            """Wait for at most so many milliseconds, and return sockets with their events."""
            seconds = None if timeout is None else timeout / 1000
            read, written = ([fd for fd, events in self._watched.items() if events & one] for one in (POLLIN, POLLOUT))
            readable, writable, _ = select.select(read, written, [], seconds)
            return [*((fd, POLLIN) for fd in readable), *((fd, POLLOUT) for fd in writable)]

    def shows_colours(fd: int) -> bool:
        """Return whether a descriptor is a console that takes escape sequences for colours (ECMA-48).

        A console shows them as text until that is switched on, as it is here (SetConsoleMode,
        ENABLE_VIRTUAL_TERMINAL_PROCESSING, in the documentation of the Windows console).
        """
        import ctypes
        import msvcrt

        kernel = ctypes.WinDLL("kernel32")
        handle, mode = ctypes.c_void_p(msvcrt.get_osfhandle(fd)), ctypes.c_uint32()
        is_console = kernel.GetConsoleMode(handle, ctypes.byref(mode))
        return bool(is_console and kernel.SetConsoleMode(handle, ctypes.c_uint32(mode.value | 4)))

    def user() -> str:
        """Return the name of the user that this process acts as, for messages."""
        return os.environ.get("USERNAME", "")
