"""Plain values to and from bytes, which may come from anybody: no content of them can do any harm. Pure.

A value is a letter for its type and, for most, a size: of its bytes, or of its items, which follow.
"""

import struct
from collections.abc import Iterable

DEPTH = 32  # of values within values

_SIZE = struct.Struct("!cI")
_WHOLE = struct.Struct("!cq")
_REAL = struct.Struct("!cd")
_CONSTANTS = {b"N": None, b"T": True, b"F": False}


def dump(value: object) -> bytes:
    """The bytes of a value: str, bytes, int of 64 bits, float, bool, None, and tuple, list and dict of such.

    Raises ValueError for anything else, and for what is nested more than DEPTH times.
    """
    return b"".join(_pieces(value, DEPTH))


def load(data: bytes) -> object:
    """The value that `dump` has made these bytes of; raises ValueError where it cannot have been."""
    value, end = _load(data, 0, DEPTH)
    if end != len(data):
        raise ValueError("more than a value")
    return value


def _pieces(value: object, depth: int) -> Iterable[bytes]:
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
    """The value that begins at `start`, and where it ends."""
    if not depth:
        raise ValueError("too deeply nested")
    kind = data[start : start + 1]
    if kind in _CONSTANTS:
        return _CONSTANTS[kind], start + 1
    try:
        if kind in (b"i", b"f"):
            form = _WHOLE if kind == b"i" else _REAL
            return form.unpack_from(data, start)[1], start + form.size
        _, size = _SIZE.unpack_from(data, start)
    except struct.error as error:
        raise ValueError("not a value") from error
    start += _SIZE.size
    if size > len(data) - start:  # an item takes a byte at least
        raise ValueError("less than a value")
    match kind:
        case b"s":
            return data[start : start + size].decode("utf-8", "surrogatepass"), start + size
        case b"b":
            return data[start : start + size], start + size
        case b"(" | b"[":
            items, end = _load_items(data, start, size, depth)
            return (tuple(items) if kind == b"(" else items), end
        case b"{":
            items, end = _load_items(data, start, 2 * size, depth)
            if not all(isinstance(key, str) for key in items[::2]):
                raise ValueError("a key that is no text")
            return dict(zip(items[::2], items[1::2], strict=True)), end
        case _:
            raise ValueError("not a value")


def _load_items(data: bytes, start: int, count: int, depth: int) -> tuple[list[object], int]:
    items: list[object] = []
    for _ in range(count):
        item, start = _load(data, start, depth - 1)
        items.append(item)
    return items, start
