"""Which workers a key prefers: a rendezvous hash over the slots, and the value of the cookie that names a slot. Pure.

Each slot has a score for each key, and a key prefers the slots in the order of their scores (highest random weight). So
all workers agree without telling each other, and when a slot comes or goes only the keys move that prefer it.
"""

import hmac
from functools import lru_cache
from hashlib import blake2b

DIGEST_SIZE = 16  # bytes
_WORD = (1 << 64) - 1
_REMEMBERED = 1024  # tokens: as many as there can be workers; to make one takes 3 us
_MAC_SIZE = 12  # bytes; a cookie that is made up fits with a chance of 1 to 2^96


def digest(secret: bytes, key: bytes) -> bytes:
    """Return DIGEST_SIZE bytes that stand for a key. Without the secret nobody can choose a key for its worker."""
    return blake2b(key, digest_size=DIGEST_SIZE, key=secret).digest()


def preference(digest: bytes, slots: tuple[int, ...]) -> tuple[int, ...]:
    """Return the slots in the order in which the key with this digest prefers them."""
    seed = int.from_bytes(digest[:8], "big")
    return tuple(sorted(slots, key=lambda slot: (-_score(seed, slot), slot)))


def _score(seed: int, slot: int) -> int:
    """Return the score of a slot for a key: the output of splitmix64 (Steele, Lea and Flood, 2014)."""
    word = (seed ^ (slot + 1) * 0x9E3779B97F4A7C15) & _WORD
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ word >> 27) * 0x94D049BB133111EB & _WORD
    return word ^ word >> 31


@lru_cache(_REMEMBERED)
def token(secret: bytes, slot: int) -> bytes:
    """Return the value of the cookie that ties its client to a slot: the number of the worker, and proof of us."""
    number = b"%d" % (slot + 1)
    return number + b"." + blake2b(b"slot " + number, digest_size=_MAC_SIZE, key=secret).hexdigest().encode()


def slot_of(secret: bytes, value: bytes, most: int) -> int | None:
    """Return the slot, less than `most`, that the value of a cookie names; None if it is not one of `token`.

    The comparison takes as long for every wrong value of the same length.
    """
    number, dot, _ = value.partition(b".")
    if not dot or not number.isdigit() or len(number) > 4 or not 0 < int(number) <= most:
        return None
    slot = int(number) - 1
    return slot if hmac.compare_digest(value, token(secret, slot)) else None
