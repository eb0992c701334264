"""Content in shared memory that one process writes as a whole, and that every process reads as a whole.

There are two places for it. The writer fills the one that is not in force, and then changes one word, the version, of
which the last bit says which place is. So a reader never waits for the writer, and what is in force is whole even if
the writer has died, or was stopped, while it wrote.
"""

import mmap
import struct

PLACE = 4096  # bytes of a place: a page of memory
SIZE = 2 * PLACE  # bytes of both

_VERSION = struct.Struct("@Q")
_MOST_VERSIONS = 1 << 64
_ATTEMPTS = 100  # to read a state that the writer does not touch meanwhile; it writes about once a second


class VersionedPage:
    """The content whose places begin at `start` of the memory, and whose version is the word at `version_at`."""

    __slots__ = ("_memory", "_start", "_version_at")

    def __init__(self, memory: mmap.mmap, start: int, version_at: int) -> None:
        self._memory = memory
        self._start = start
        self._version_at = version_at

    @property
    def version(self) -> int:
        """The number of the state that is in force; it changes with each `write`."""
        version: int = _VERSION.unpack_from(self._memory, self._version_at)[0]
        return version

    def write(self, content: bytes) -> None:
        """Put `content`, of at most PLACE bytes, in the place of what is there; one process alone may call this."""
        version = (self.version + 1) % _MOST_VERSIONS
        start = self._start + version % 2 * PLACE
        self._memory[start : start + len(content)] = content
        _VERSION.pack_into(self._memory, self._version_at, version)

    def read(self) -> bytes:
        """Return the PLACE bytes that are in force: the content, and behind it what older ones may have left.

        All is of one state, unless the writer changes it all the time, as none of ours does.
        """
        content = b""
        for _ in range(_ATTEMPTS):
            version = self.version
            start = self._start + version % 2 * PLACE
            content = self._memory[start : start + PLACE]
            if self.version == version:
                break
        return content

    def clear(self) -> None:
        """Fill the places with zeros, in memory that nobody reads at the moment."""
        self._memory[self._start : self._start + SIZE] = bytes(SIZE)
