"""Compressed messages inflate bit by bit, in a time that follows their size however they are compressed."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.protocols.websocket.handshake import Deflate
from corehttp.protocols.websocket.inflation import END_OF_DEFLATE, Inflation

FULL = Deflate(15, False, 15, False, b"")


def compressed(content: bytes, ending: int) -> bytes:
    """Compress; with `zlib.Z_FINISH` as the flush the stream ends there, and another one follows."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(content) + compressor.flush(ending)


@given(
    contents=st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=6),
    times=st.integers(1, 500),
    most=st.integers(1, 2000),
    cut=st.integers(1, 50),
)
def test_streams_that_follow_each_other_inflate_to_what_was_given(
    contents: list[tuple[bytes, bool]], times: int, most: int, cut: int
) -> None:
    raw = b"".join(compressed(content * times, zlib.Z_FINISH) for content, _ in contents)
    inflation = Inflation(FULL)
    out = b""
    for at in range(0, len(raw), cut):
        inflation.add(raw[at : at + cut])
        while inflation.pending:
            piece = inflation.take(most)
            assert len(piece) <= most
            out += piece
    inflation.add(END_OF_DEFLATE)
    assert inflation.take(most) == b""
    assert not inflation.pending
    assert out == b"".join(content * times for content, _ in contents)


@pytest.mark.parametrize("stream", [b"\x03\x00", compressed(b"a", zlib.Z_FINISH), b"\x01\x00\x00\xff\xff"])
def test_what_zlib_is_given_follows_the_size_of_what_comes_in(monkeypatch: pytest.MonkeyPatch, stream: bytes) -> None:
    make = zlib.decompressobj
    given = 0

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inner = make(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal given
            given += len(data)
            return self._inner.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    raw = stream * (2**18 // len(stream))
    inflation = Inflation(FULL)
    inflation.add(raw)
    turns = 0
    while inflation.pending:
        inflation.take(2**16)
        turns += 1
    assert given < 40 * len(raw)
    assert turns >= len(raw) // len(stream) // 64, "many streams end in many turns"
