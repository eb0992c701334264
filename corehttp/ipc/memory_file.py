"""Files in memory, which processes share by their descriptors: a scoreboard, or much that a client has sent."""

import io
import os
import stat
import sys


def new_descriptor(name: str) -> int:
    """Return the descriptor of a new, empty file, which is gone with its last descriptor. Raises OSError.

    On Linux the file is in memory, can be sealed, and is shown as `name` in /proc/pid/fd (memfd_create(2)). Elsewhere
    it is a temporary file without a name.
    """
    if sys.platform == "linux":
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    import tempfile  # here, since it brings much along

    descriptor, path = tempfile.mkstemp()
    os.unlink(path)
    return descriptor


def memory_file(content: bytes) -> io.FileIO:
    """Return a new file with this content, which is gone with its last descriptor. Raises OSError."""
    file = io.FileIO(new_descriptor("corehttp-held"), "r+")
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(file.fileno(), left) :]
    except BaseException:
        file.close()
        raise
    return file


def read_file(descriptor: int, limit: int) -> bytes:
    """Return the content of a file. Raises ValueError for no regular file or more than `limit` bytes, and OSError."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        raise ValueError("no file, or too large a one")
    return os.pread(descriptor, status.st_size, 0)
