"""A part of the shared memory into which one worker at a time writes its stacks, because an operator has asked.

The supervisor says which process is to write and sends it SIGNAL. What the process writes goes to the end of the file
offset that it shares with the supervisor, as faulthandler does, even where the interpreter is stuck in C.
"""

import os
import signal
import struct

START = 32 << 20  # the offset of the area in the file of the scoreboard, behind all else
SIZE = 128 * 1024  # bytes of the area; what does not fit is lost
SIGNAL = signal.SIGURG  # one that does nothing to a process which does not expect it (signal(7))

_HEAD = struct.Struct("@QQ")  # the process that is asked, and the one that has written all


class StackArea:
    """The area, in the file behind the descriptor of a scoreboard."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def assign(self, pid: int) -> None:
        """Let this process write, and no other one; what was there before is gone. Only the supervisor may call it."""
        os.pwrite(self._fd, _HEAD.pack(pid, 0).ljust(SIZE, b"\0"), START)
        os.lseek(self._fd, START + _HEAD.size, os.SEEK_SET)

    def is_asked(self, pid: int) -> bool:
        """Whether this process is the one that is asked."""
        asked, _ = _HEAD.unpack(os.pread(self._fd, _HEAD.size, START))
        return bool(asked == pid)

    def write(self, text: str) -> None:
        """Write behind what the process has written. Raises OSError where there is no room."""
        os.write(self._fd, text.encode("utf-8", "backslashreplace"))

    def finish(self, pid: int) -> None:
        """Say that this process has written all."""
        os.pwrite(self._fd, _HEAD.pack(pid, pid), START)

    def read(self) -> tuple[str, bool]:
        """Return what was written so far, and whether that is all."""
        data = os.pread(self._fd, SIZE, START)
        asked, finished = _HEAD.unpack_from(data)
        return data[_HEAD.size :].partition(b"\0")[0].decode("utf-8", "replace"), bool(asked and asked == finished)
