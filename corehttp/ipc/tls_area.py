"""A part of the shared memory for TLS: what the workers share for their sessions, and what they serve.

It is read and written with pread(2) and pwrite(2), since that is done seldom. Everything in it has a checksum, so that
what was not written whole, or by a process of another release, counts as nothing.
"""

import os
import struct
from binascii import crc32
from collections.abc import Sequence

SECRET_SIZE = 32  # bytes
START = 25 << 20  # the offset of the area in the file of the scoreboard, between the counters and the area of --sticky
SIZE = 3 << 20  # bytes of the area; those that nobody writes take no memory
LAST = 253402300799  # the end of the year 9999 (seconds since 1970), the latest time that is believed
MOST_CERTIFICATES = 60  # of each worker; later ones are not shown

_SECRET = struct.Struct(f"@{SECRET_SIZE}sI")
_ROWS, _ROW_SIZE = 4096, 512  # the offset of the first row in the area, and bytes of each
_ROW_HEAD = struct.Struct("@QII")  # the claim of the worker, how many certificates follow, a checksum of all else
_CHECKED = struct.Struct("@QI")

# Copies of all files, from this offset in the area to its end, behind the rows of all workers. Before them stands how
# many bytes and which checksum they have.
_FILES = 1 << 20
_FILES_HEAD = struct.Struct("@QI4x")
MOST_FILES = SIZE - _FILES - _FILES_HEAD.size  # bytes


def renew_secret(fd: int) -> None:
    """Put a new random secret in the place of the one that there is. Only the supervisor may call this."""
    secret = os.urandom(SECRET_SIZE)
    os.pwrite(fd, _SECRET.pack(secret, crc32(secret)), START)


def read_secret(fd: int) -> bytes:
    """Return the secret in the file of a scoreboard; nothing if there is none, or if it is just being written."""
    data = os.pread(fd, _SECRET.size, START)
    if len(data) < _SECRET.size:  # the supervisor is of a release without this area
        return b""
    secret, checksum = _SECRET.unpack(data)
    return bytes(secret) if checksum == crc32(secret) and any(secret) else b""


def write_ends(fd: int, row: int, claim: int, ends: Sequence[float]) -> None:
    """Show when the certificates that a worker serves end (seconds since 1970). Only that worker may call this.

    Raises OSError if the supervisor is of a release without this area.
    """
    shown = [max(0, int(end)) for end in ends[:MOST_CERTIFICATES]]
    content = struct.pack(f"@{len(shown)}Q", *shown)
    checksum = crc32(_CHECKED.pack(claim, len(shown)) + content)
    os.pwrite(fd, _ROW_HEAD.pack(claim, len(shown), checksum) + content, START + _ROWS + row * _ROW_SIZE)


def read_ends(fd: int, row: int, claim: int) -> list[int]:
    """Return what the worker with this row and claim has shown; nothing if it has shown nothing yet."""
    data = os.pread(fd, _ROW_SIZE, START + _ROWS + row * _ROW_SIZE)
    if len(data) < _ROW_SIZE:
        return []
    claimed, count, checksum = _ROW_HEAD.unpack_from(data)
    content = data[_ROW_HEAD.size : _ROW_HEAD.size + count * 8] if count <= MOST_CERTIFICATES else b""
    if claimed != claim or checksum != crc32(_CHECKED.pack(claimed, count) + content):
        return []
    return [min(end, LAST) for end in struct.unpack(f"@{len(content) // 8}Q", content)]


def keep_files(fd: int, content: bytes) -> None:
    """Put copies of the files of TLS in the place of those that there are, if there is room for them.

    Nothing of the copies before stays in memory, since private keys are among them. Two workers may write at once: then
    nothing is kept. Raises OSError if the supervisor is of a release without this area.
    """
    if len(content) <= MOST_FILES:
        length, _ = _files_head(fd)
        rest = bytes(max(0, length - len(content)))
        os.pwrite(fd, _FILES_HEAD.pack(len(content), crc32(content)) + content + rest, START + _FILES)


def kept_files(fd: int) -> bytes:
    """Return what was kept last; nothing if that is nothing, or not whole."""
    length, checksum = _files_head(fd)
    content = os.pread(fd, length, START + _FILES + _FILES_HEAD.size)
    return content if len(content) == length and crc32(content) == checksum else b""


def _files_head(fd: int) -> tuple[int, int]:
    """Return how many bytes the copies of files have, and their checksum; two times 0 if there are none."""
    head = os.pread(fd, _FILES_HEAD.size, START + _FILES)
    length, checksum = _FILES_HEAD.unpack(head) if len(head) == _FILES_HEAD.size else (0, 0)
    return (length, checksum) if length <= MOST_FILES else (0, 0)
