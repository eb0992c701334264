"""Convert plain values to bytes and back. Bytes may come from anybody: no content of them can do any harm. Pure.

A value is written as a letter for its type. For a number its 8 bytes follow. For a text, bytes or a collection, the
number of its bytes or items follows in 4 bytes, and then these.
"""

import struct
from collections.abc import Iterable

DEPTH = 32  # the most levels of values within values

_SIZE = struct.Struct("!cI")
_WHOLE = struct.Struct("!cq")
_REAL = struct.Struct("!cd")
_CONSTANTS = {b"N": None, b"T": True, b"F": False}


def dump(value: object) -> bytes:
    """Return the bytes of a value: a str, bytes, int of 64 bits, float, bool, None, or tuple, list or dict of such.

    Raises ValueError for any other value, and for one that is nested more than DEPTH times.
    """
    return b"".join(_pieces(value, DEPTH))


def load(data: bytes) -> object:
    """Return the value that `dump` has made these bytes of. Raises ValueError for bytes that it cannot have made."""
    value, end = _load(data, 0, DEPTH)
    if end != len(data):
        raise ValueError("more than a value")
    return value


def _pieces(value: object, depth: int) -> Iterable[bytes]:
    """Yield the bytes of a value of at most `depth` levels in pieces. Raises ValueError as `dump` does."""
    if not depth:
        raise ValueError("too deeply nested")
    match value:
        case None:
            yield b"N"
        case bool():
            yield b"T" if value else b"F"
        case int() if -(1 << 63) <= value < 1 << 63:
            yield _WHOLE.pack(b"i", value)
        case float():
            yield _REAL.pack(b"f", value)
        case str():
            text = value.encode("utf-8", "surrogatepass")
            yield _SIZE.pack(b"s", len(text)) + text
        case bytes():
            yield _SIZE.pack(b"b", len(value)) + value
        case tuple() | list():
            yield _SIZE.pack(b"(" if isinstance(value, tuple) else b"[", len(value))
            for item in value:
                yield from _pieces(item, depth - 1)
        case dict():
            yield _SIZE.pack(b"{", len(value))
            for pair in value.items():
                for item in pair:
                    yield from _pieces(item, depth - 1)
        case _:
            raise ValueError(f"a value of type {type(value).__name__}")


def _load(data: bytes, start: int, depth: int) -> tuple[object, int]:
    """Return the value that begins at `start`, and where it ends. Raises ValueError as `load` does."""
    if not depth:
        raise ValueError("too deeply nested")
    kind = data[start : start + 1]
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], start + 1
    form = {b"i": _WHOLE, b"f": _REAL}.get(kind, _SIZE)
    try:
        _, number = form.unpack_from(data, start)
    except struct.error as error:
        raise ValueError("not a value") from error
    start += form.size
    if form is not _SIZE:
        return number, start
    if number > len(data) - start:  # every item takes a byte at least, so that none is read in vain
        raise ValueError("less than a value")
    if kind in (b"s", b"b"):
        content = data[start : start + number]
        return (content.decode("utf-8", "surrogatepass") if kind == b"s" else content), start + number
    return _load_collection(kind, data, start, number, depth)


def _load_collection(kind: bytes, data: bytes, start: int, size: int, depth: int) -> tuple[object, int]:
    """Return the collection of this kind whose `size` items begin at `start`, and where it ends. Raises ValueError."""
    match kind:
        case b"(":
            items, end = _load_items(data, start, size, depth)
            return tuple(items), end
        case b"[":
            return _load_items(data, start, size, depth)
        case b"{":
            items, end = _load_items(data, start, 2 * size, depth)
            if not all(isinstance(key, str) for key in items[::2]):
                raise ValueError("a key that is no text")
            return dict(zip(items[::2], items[1::2], strict=True)), end
        case _:
            raise ValueError("not a value")


def _load_items(data: bytes, start: int, count: int, depth: int) -> tuple[list[object], int]:
    """Return `count` values that begin at `start`, one after the other, and where they end. Raises ValueError."""
    items: list[object] = []
    for _ in range(count):
        item, start = _load(data, start, depth - 1)
        items.append(item)
    return items, start
