"""A part of the shared memory for `--sticky`: the secret of the service, and which worker was bound to which keys.

All workers write bindings, and nobody locks anything: a worker that is stopped or killed while it writes holds up
nobody. A binding has a checksum, so that one that was read or written by halves is none. There is a fixed number of
places for it, by the digest of its key; the oldest of these goes when all are taken. So the last KEPT bindings stay,
but for one in a million.
"""

import mmap
import os
import struct
from binascii import crc32

SECRET_SIZE = 32  # bytes
START = 28 << 20  # the offset of the area in the file of the scoreboard, between the counters and the area for stacks
_BUCKETS, _PLACES = 1024, 64  # how many groups of places there are, and how many places each has
KEPT = 32768  # half of all places

# The digest of a key, when it was bound (microseconds, monotonic), the slot, a checksum of these.
_BINDING = struct.Struct("@16sQII")
_CHECKSUM = _NUMBER = struct.Struct("@I")
_CHECKED = _BINDING.size - 4  # the bytes of a binding before its checksum
_BUCKET = _PLACES * _BINDING.size
_TABLE = mmap.ALLOCATIONGRANULARITY  # the offset of the first bucket in the area
_USED = SECRET_SIZE  # the offset of a byte that is not zero once anything was bound
_SHARED = SECRET_SIZE + 8  # the offset of a number that `share_inboxes` has written
SIZE = _TABLE + _BUCKETS * _BUCKET  # bytes of the area
_ATTEMPTS = 3  # to read a binding that another worker may be writing, and to write one


def write_secret(fd: int, secret: bytes) -> None:
    """Write the secret into the file of a scoreboard. Only the supervisor may call this, before there are workers."""
    os.pwrite(fd, secret, START)


def read_secret(fd: int) -> bytes:
    """Return the secret in the file of a scoreboard."""
    return os.pread(fd, SECRET_SIZE, START)


def share_inboxes(fd: int, slots: int) -> None:
    """Tell the workers of a scoreboard in how many slots, from the first on, others have the inboxes, too.

    These others are the workers of another supervisor, at an upgrade. 0: they have none any more.
    """
    os.pwrite(fd, _NUMBER.pack(slots), START + _SHARED)


class StickyArea:
    """The area, in the file behind the descriptor of a scoreboard; open as long as there is this object.

    Every thread may use it.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SIZE, offset=START)
        self.secret = self._memory[:SECRET_SIZE]

    @property
    def shared(self) -> int:
        """In how many slots, from the first on, workers of another supervisor take what is put into the inbox, too."""
        number: int = _NUMBER.unpack_from(self._memory, _SHARED)[0]
        return number

    def bound(self, digest: bytes) -> int | None:
        """Return the slot to which the key with this digest was bound last; None if it is not bound."""
        memory = self._memory
        if not memory[_USED]:
            return None
        for _ in range(_ATTEMPTS):
            place = self._find(digest)
            if place < 0:
                return None
            _, _, slot, checksum = _BINDING.unpack_from(memory, place)
            if checksum == crc32(memory[place : place + _CHECKED]):
                return int(slot)
        return None

    def bind(self, digest: bytes, slot: int, now: float) -> None:
        """Bind the key with this digest to a slot at `now` (seconds, monotonic), whatever it was bound to before."""
        moment = int(now * 1e6)
        for _ in range(_ATTEMPTS):  # another worker may write to the same place
            place = self._place(digest, moment)
            binding = _BINDING.pack(digest, moment, slot, 0)[:_CHECKED]
            self._memory[place : place + _BINDING.size] = binding + _CHECKSUM.pack(crc32(binding))
            self._memory[_USED] = 1
            if self.bound(digest) == slot:
                return

    def _find(self, digest: bytes) -> int:
        """Return the offset of the binding of a key, which may be there by halves; -1 if there is none."""
        start = _bucket(digest)
        place = self._memory.find(digest, start, start + _BUCKET)
        while place >= 0 and (place - start) % _BINDING.size:  # what looks like it inside of other bindings
            place = self._memory.find(digest, place + 1, start + _BUCKET)
        return place

    def _place(self, digest: bytes, moment: int) -> int:
        """Return the offset of the place for a key: its own, or that of the oldest binding, free ones first.

        A binding that claims to be younger than `moment` counts as none.
        """
        place = self._find(digest)
        if place >= 0:
            return place
        start = _bucket(digest)
        content = self._memory[start : start + _BUCKET]
        ages = [bound_at if bound_at <= moment else 0 for _, bound_at, _, _ in _BINDING.iter_unpack(content)]
        return start + ages.index(min(ages)) * _BINDING.size


def _bucket(digest: bytes) -> int:
    """Return the offset of the bucket of a key. Its first bytes say which slots the key prefers (`rendezvous`)."""
    return _TABLE + int.from_bytes(digest[8:10], "big") % _BUCKETS * _BUCKET
