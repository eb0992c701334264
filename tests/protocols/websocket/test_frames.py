"""Frames and messages are read and written byte by byte as RFC 6455 says; each violation has its code, in every cut."""

import sys
import tracemalloc
import zlib
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.protocols.websocket.deflation import Deflater
from corehttp.protocols.websocket.frame_reader import FrameReader
from corehttp.protocols.websocket.frames import (
    Event,
    ProtocolError,
    close_payload,
    frame,
    is_close_code,
    parse_close,
)
from corehttp.protocols.websocket.handshake import Deflate
from corehttp.protocols.websocket.masking import unmask, unmask_in_python
from tests.kit.fakes import every_cut
from tests.kit.websocket_client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    FIN,
    MASK,
    PING,
    PONG,
    RSV1,
    TEXT,
    header,
    masked,
    plain_loop,
)
from tests.protocols.test_properties import profile

SMALL = Deflate(12, True, 12, True, b"")
FULL = Deflate(15, False, 15, False, b"")
MAX = 1000  # bytes of a message
Outcome = tuple[list[Event], int]  # what came, and the code of the violation; 0 if there was none


def read(
    pieces: list[bytes],
    deflate: Deflate | None = None,
    most: int = 100,
    max_size: int = MAX,
    room: int = sys.maxsize,
    frames: int = sys.maxsize,
) -> Outcome:
    """Return what a reader makes of the pieces; each is read to its end before the next."""
    reader = FrameReader(max_size, deflate)
    events: list[Event] = []
    try:
        for piece in pieces:
            at = 0
            while (at < len(piece) or reader.behind) and not reader.close_received:
                more, at = reader.feed(piece, at, most, room, frames)
                events += more
    except ProtocolError as error:
        return events + error.events, error.code
    return events, 0


def in_every_cut(raw: bytes, deflate: Deflate | None = None) -> Outcome:
    """Return the outcome of `data`, which has to be the same in every cut and for any number of messages at a time."""
    outcome = read([raw], deflate)
    for pieces in every_cut(raw):
        for most in (1, 2, 100):
            assert read(pieces, deflate, most) == outcome, (pieces, most)
        assert read(pieces, deflate, room=3, frames=1) == outcome, pieces
    return outcome


def deflated(data: bytes, level: int = 9) -> bytes:
    compressor = zlib.compressobj(level, wbits=-12)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def compressed(opcode: int, data: bytes) -> bytes:
    return masked(opcode, deflated(data), FIN | RSV1)


# What is right.


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"", []),
        (masked(TEXT, b"Hello"), [(TEXT, "Hello")]),
        (masked(TEXT), [(TEXT, "")]),
        (masked(BINARY, b"\xff\0"), [(BINARY, b"\xff\0")]),
        (masked(BINARY), [(BINARY, b"")]),
        (masked(TEXT, "äöü €".encode()), [(TEXT, "äöü €")]),
        (masked(TEXT, b"a" * 125), [(TEXT, "a" * 125)]),
        (masked(TEXT, b"a" * 126), [(TEXT, "a" * 126)]),
        (masked(BINARY, bytes(MAX)), [(BINARY, bytes(MAX))]),
        (masked(PING, b"x") + masked(PONG, b"y") + masked(PING), [(PING, b"x"), (PONG, b"y"), (PING, b"")]),
        (masked(PING, b"x" * 125), [(PING, b"x" * 125)]),
        (masked(TEXT, b"Hel", 0) + masked(CONTINUATION, b"lo"), [(TEXT, "Hello")]),
        (masked(TEXT, b"a", 0) + masked(CONTINUATION, b"", 0) + masked(CONTINUATION), [(TEXT, "a")]),
        (masked(TEXT, "€".encode()[:1], 0) + masked(CONTINUATION, "€".encode()[1:]), [(TEXT, "€")]),
        (masked(BINARY, b"a", 0) + masked(PING, b"p") + masked(CONTINUATION, b"b"), [(PING, b"p"), (BINARY, b"ab")]),
        (masked(TEXT, b"a") + masked(BINARY, b"b") + masked(TEXT, b"c"), [(TEXT, "a"), (BINARY, b"b"), (TEXT, "c")]),
        (masked(CLOSE), [(CLOSE, (1005, ""))]),
        (masked(CLOSE, b"\x03\xe8") + b"\xff\xff", [(CLOSE, (1000, ""))]),
        (masked(CLOSE, b"\x0f\xa0" + "aé".encode()) + masked(TEXT, b"x"), [(CLOSE, (4000, "aé"))]),
        (masked(TEXT, b"a", 0) + masked(CLOSE, b"\x03\xe9"), [(CLOSE, (1001, ""))]),
        (masked(TEXT, b"abcdefg", mask=b"\0\0\0\0"), [(TEXT, "abcdefg")]),
    ],
)
def test_frames_become_events(raw: bytes, events: list[Event]) -> None:
    assert in_every_cut(raw) == (events, 0)


def test_a_length_of_eight_bytes() -> None:
    content = bytes(range(256)) * 300
    for pieces in [masked(BINARY, content)], [masked(BINARY, content)[:70_000], masked(BINARY, content)[70_000:]]:
        assert read(pieces, max_size=100_000) == ([(BINARY, content)], 0)


@pytest.mark.parametrize("deflate", [SMALL, FULL], ids=["small", "full"])
@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (compressed(TEXT, b"Hello"), [(TEXT, "Hello")]),
        (compressed(TEXT, b""), [(TEXT, "")]),
        (compressed(BINARY, b"a" * MAX), [(BINARY, b"a" * MAX)]),
        (compressed(TEXT, b"a" * 300) + masked(TEXT, b"b"), [(TEXT, "a" * 300), (TEXT, "b")]),
        (
            masked(TEXT, deflated(b"Hello")[:3], RSV1) + masked(PING) + masked(CONTINUATION, deflated(b"Hello")[3:]),
            [(PING, b""), (TEXT, "Hello")],
        ),
        # RFC 7692, 7.2.3.2 and 7.2.3.4: blocks without compression, and a final block.
        (masked(TEXT, bytes.fromhex("000500faff48656c6c6f00"), FIN | RSV1), [(TEXT, "Hello")]),
        (masked(TEXT, bytes.fromhex("f348cdc9c9070000"), FIN | RSV1), [(TEXT, "Hello")]),
        (masked(TEXT, bytes.fromhex("f248050000 00ffff cac9c90700"), FIN | RSV1), [(TEXT, "Hello")]),
    ],
)
def test_compressed_frames_become_events(raw: bytes, events: list[Event], deflate: Deflate) -> None:
    assert in_every_cut(raw, deflate) == (events, 0)


def test_a_window_that_is_kept_is_used_by_the_next_message() -> None:
    # The example of RFC 7692, 7.2.3.2: the second message refers to the first.
    first, second = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
    raw = masked(TEXT, first, FIN | RSV1) + masked(TEXT, second, FIN | RSV1)
    assert in_every_cut(raw, FULL) == ([(TEXT, "Hello"), (TEXT, "Hello")], 0)
    assert in_every_cut(raw, SMALL) == ([(TEXT, "Hello")], 1007)


def test_a_message_that_compression_has_made_longer_is_not_too_large() -> None:
    content = Random(1).randbytes(MAX)
    raw = masked(BINARY, deflated(content, level=0), FIN | RSV1)
    assert len(raw) > MAX + 8
    assert read([raw], SMALL) == ([(BINARY, content)], 0)


# What is wrong.


VIOLATIONS = [
    ("not masked", b"\x81\x05Hello", 1002),
    ("reserved bit 1", masked(TEXT, b"a", FIN | 0x40), 1002),
    ("reserved bit 2", masked(TEXT, b"a", FIN | 0x20), 1002),
    ("reserved bit 3", masked(BINARY, b"a", FIN | 0x10), 1002),
    ("reserved bit of a ping", masked(PING, b"a", FIN | 0x40), 1002),
    *[(f"opcode {opcode}", masked(opcode, b"a"), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
    ("continuation of nothing", masked(CONTINUATION, b"a"), 1002),
    ("continuation after the end", masked(TEXT, b"a") + masked(CONTINUATION, b"b"), 1002),
    ("message in a message", masked(TEXT, b"a", 0) + masked(TEXT, b"b"), 1002),
    ("ping in fragments", masked(PING, b"a", 0), 1002),
    ("close in fragments", masked(CLOSE, b"", 0), 1002),
    ("long ping", masked(PING, b"a" * 126), 1002),
    ("long close", masked(CLOSE, b"\x03\xe8" + b"a" * 124), 1002),
    ("length of two bytes that fits in one", b"\x82\xfe\x00\x7d" + MASK + bytes(125), 1002),
    ("length of eight bytes that fits in two", b"\x82\xff" + (65535).to_bytes(8, "big") + MASK, 1002),
    ("length of more than 63 bits", b"\x82\xff" + (2**63).to_bytes(8, "big") + MASK, 1002),
    ("close of one byte", masked(CLOSE, b"\x03"), 1002),
    *[
        (f"close with {code}", masked(CLOSE, code.to_bytes(2, "big")), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ],
    ("reason not UTF-8", masked(CLOSE, b"\x03\xe8\xff"), 1007),
    ("text not UTF-8", masked(TEXT, b"a\xff"), 1007),
    ("text with a surrogate", masked(TEXT, b"\xed\xa0\x80"), 1007),
    ("text beyond Unicode", masked(TEXT, b"\xf4\x90\x80\x80"), 1007),
    ("text in overlong form", masked(TEXT, b"\xc0\xaf"), 1007),
    ("text that ends in a character", masked(TEXT, b"\xe2\x82"), 1007),
    ("fragments that end in a character", masked(TEXT, b"\xe2", 0) + masked(CONTINUATION, b"\x82"), 1007),
    ("too large", masked(BINARY, bytes(MAX + 1)), 1009),
    ("too large from its head on", b"\x82\xff" + (2**40).to_bytes(8, "big") + MASK, 1009),
    ("too large in fragments", masked(BINARY, bytes(600), 0) + masked(CONTINUATION, bytes(401)), 1009),
]


@pytest.mark.parametrize(
    ("raw", "code"), [pytest.param(raw, code, id=name) for name, raw, code in VIOLATIONS if len(raw) < 500]
)
def test_each_violation_has_its_code(raw: bytes, code: int) -> None:
    assert in_every_cut(raw) == ([], code) or in_every_cut(raw) == ([(TEXT, "a")], code)


@pytest.mark.parametrize(("raw", "code"), [pytest.param(raw, code, id=name) for name, raw, code in VIOLATIONS])
def test_what_came_before_a_violation_comes_with_it(raw: bytes, code: int) -> None:
    before = masked(TEXT, b"one") + masked(PING, b"two")
    events, found = read([before + raw])
    assert (events[:2], found) == ([(TEXT, "one"), (PING, b"two")], code)
    assert read([before, raw]) == (events, code)


@pytest.mark.parametrize("deflate", [SMALL, FULL], ids=["small", "full"])
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (masked(TEXT, b"\xff\xff", FIN | RSV1), 1007),
        (masked(TEXT, deflated(b"\xff"), FIN | RSV1), 1007),
        (masked(TEXT, deflated("€".encode()[:2]), FIN | RSV1), 1007),
        (masked(BINARY, deflated(bytes(MAX + 1)), FIN | RSV1), 1009),
        (masked(TEXT, deflated(b"\xff" + bytes(MAX + 1)), FIN | RSV1), 1007),
        (masked(TEXT, b"a", FIN | RSV1 | 0x20), 1002),
        (masked(PING, b"a", FIN | RSV1), 1002),
        (masked(TEXT, deflated(b"ab")[:2], RSV1) + masked(CONTINUATION, deflated(b"ab")[2:], FIN | RSV1), 1002),
        # The first violation counts, whatever comes behind it in the same read.
        (masked(TEXT, b"\xff\xff", RSV1) + masked(PING), 1007),
        (masked(TEXT, b"\xff\xff", RSV1) + masked(CLOSE), 1007),
        (masked(TEXT, b"\xff\xff", RSV1) + masked(TEXT), 1007),
        (masked(BINARY, deflated(bytes(MAX + 1)), RSV1) + masked(TEXT), 1009),
    ],
)
def test_each_violation_of_compression_has_its_code(raw: bytes, code: int, deflate: Deflate) -> None:
    assert in_every_cut(raw, deflate) == ([], code)


def test_a_large_frame_is_refused_before_its_payload_comes() -> None:
    assert read([header(FIN | BINARY, 0x80, MAX + 1) + MASK]) == ([], 1009)


def test_text_is_refused_at_its_first_wrong_byte() -> None:
    assert read([masked(TEXT, b"\xff" + b"a" * 500)[:9]]) == ([], 1007)


# Its limits.


def test_reading_stops_after_so_many_messages_and_says_where() -> None:
    one = masked(TEXT, b"a")
    reader = FrameReader(MAX, None)
    raw = masked(PING) + one * 2 + masked(PING) + one
    assert reader.feed(raw, 0, 2) == ([(PING, b""), (TEXT, "a"), (TEXT, "a")], len(raw) - len(one) - 6)
    assert reader.feed(raw, len(raw) - len(one) - 6, 2) == ([(PING, b""), (TEXT, "a")], len(raw))


def test_where_it_stops_is_counted_in_what_was_given_even_if_a_part_of_a_head_was_kept() -> None:
    raw = masked(TEXT, b"abc")
    for kept in range(1, 6):
        reader = FrameReader(MAX, None)
        assert reader.feed(raw[:kept], 0, 1) == ([], kept)
        given_now = b"??" + raw[kept:] + raw
        assert reader.feed(given_now, 2, 1) == ([(TEXT, "abc")], 2 + len(raw) - kept)


def test_it_is_idle_between_messages_only() -> None:
    reader = FrameReader(MAX, None)
    assert reader.between_messages
    for piece in b"\x01", masked(TEXT, b"ab", 0)[1:], masked(PING), masked(CONTINUATION, b"c")[:5]:
        reader.feed(piece, 0, 1)
        assert not reader.between_messages
    reader.feed(masked(CONTINUATION, b"c")[5:], 0, 1)
    assert reader.between_messages


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_bomb_is_refused_before_it_takes_memory(opcode: int) -> None:
    bomb = masked(opcode, deflated(bytes(50_000_000)), FIN | RSV1)
    limit = 100_000
    tracemalloc.start()
    try:
        assert read([bomb], SMALL, max_size=limit) == ([], 1009)
        assert tracemalloc.get_traced_memory()[1] < 10 * limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_in_very_many_fragments_takes_hardly_more_than_it_holds(opcode: int) -> None:
    count = 30_000
    raw = masked(opcode, b"", 0) + masked(CONTINUATION, b"ab", 0) * count
    reader = FrameReader(10 * count, None)
    tracemalloc.start()
    try:
        assert reader.feed(raw, 0, 1) == ([], len(raw))
        assert tracemalloc.get_traced_memory()[0] < 5 * count
    finally:
        tracemalloc.stop()
    [(_, content)], _ = reader.feed(masked(CONTINUATION), 0, 1)
    assert content == ("ab" * count if opcode == TEXT else b"ab" * count)


# What goes out.


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x82\x00"),
        (125, b"\x82\x7d"),
        (126, b"\x82\x7e\x00\x7e"),
        (65535, b"\x82\x7e\xff\xff"),
        (65536, b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_a_frame_that_goes_out_is_not_masked_and_its_length_is_in_the_shortest_form(size: int, head: bytes) -> None:
    assert frame(BINARY, bytes(size)) == head + bytes(size)


def test_a_reason_is_cut_between_characters() -> None:
    assert close_payload(1000, "a" + "é" * 100) == b"\x03\xe8a" + ("é" * 61).encode()
    assert close_payload(1000, "") == b"\x03\xe8"


def test_a_close_frame_is_read_as_it_is_written() -> None:
    assert parse_close(close_payload(3000, "why €")) == (3000, "why €")
    assert parse_close(b"") == (1005, "")


@pytest.mark.parametrize(
    ("code", "valid"), [(1000, True), (1005, False), (1014, True), (1015, False), (2999, False), (4999, True)]
)
def test_which_codes_a_close_frame_may_carry(code: int, valid: bool) -> None:
    assert is_close_code(code) is valid


@pytest.mark.parametrize("deflate", [SMALL, FULL, Deflate(9, True, 9, False, b"")], ids=["small", "full", "tiny"])
def test_what_is_compressed_is_what_was_given(deflate: Deflate) -> None:
    deflater = Deflater(deflate)
    for content in b"a" * 500, b"", Random(1).randbytes(500), b"a" * 500:
        raw = masked(BINARY, deflater.compress(content), FIN | RSV1)
        if deflate.deflate_anew:
            assert read([raw], SMALL) == ([(BINARY, content)], 0)


def test_a_compressor_that_is_kept_refers_to_what_it_has_sent() -> None:
    content = Random(1).randbytes(300)
    kept, anew = Deflater(FULL), Deflater(SMALL)
    payloads = [kept.compress(content) for _ in range(3)]
    assert [len(payload) < 30 for payload in payloads] == [False, True, True]
    assert [len(anew.compress(content)) > 300 for _ in range(3)] == [True] * 3
    raw = b"".join(masked(BINARY, payload, FIN | RSV1) for payload in payloads)
    assert read([raw], FULL) == ([(BINARY, content)] * 3, 0)


# What holds for any input.


@profile
@given(st.binary(max_size=70) | st.binary(min_size=2040, max_size=2060), st.binary(min_size=4, max_size=4))
def test_a_mask_is_taken_off_as_a_plain_loop_does_it(content: bytes, mask: bytes) -> None:
    assert unmask_in_python(content, mask) == plain_loop(content, mask) == unmask(content, mask)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """Draw a frame of a client, most often one without a fault."""
    opcode = draw(st.sampled_from([CONTINUATION, CONTINUATION, TEXT, TEXT, BINARY, PING, PONG, CLOSE, 3, 11]))
    first = draw(st.sampled_from([FIN, FIN, FIN, 0, 0, FIN | RSV1, FIN | RSV1, RSV1, 0x20]))
    contents = st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
    if opcode == CLOSE:
        contents = st.builds(close_payload, st.integers(999, 1020) | st.integers(2990, 5005), st.text(max_size=5))
    content = draw(contents)
    if first & RSV1:
        content = deflated(content * draw(st.sampled_from([1, 1, 50])), draw(st.sampled_from([0, 9])))
    return masked(opcode, content, first, draw(st.binary(min_size=4, max_size=4)))


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Draw what comes over a WebSocket: frames one after the other, sometimes with a fault, or any bytes."""
    raw = b"".join(draw(st.lists(frames(), max_size=6)))
    match draw(st.sampled_from(["right", "right", "cut", "changed", "added"])):
        case "cut":
            return raw[: draw(st.integers(0, len(raw)))]
        case "changed" if raw:
            at = draw(st.integers(0, len(raw) - 1))
            return raw[:at] + draw(st.binary(min_size=1, max_size=1)) + raw[at + 1 :]
        case "added":
            at = draw(st.integers(0, len(raw)))
            return raw[:at] + draw(st.binary(max_size=20)) + raw[at:]
        case _:
            return raw


@profile
@given(streams(), st.sampled_from([None, SMALL, FULL]), st.integers(1, 3), st.data())
def test_any_bytes_give_events_or_a_code_and_the_same_in_every_cut(
    raw: bytes, deflate: Deflate | None, most: int, data: st.DataObject
) -> None:
    events, code = read([raw], deflate, max_size=200)
    assert code == 0 or code in (1002, 1007, 1009)
    for opcode, payload in events:
        if opcode in (TEXT, BINARY):
            assert isinstance(payload, str if opcode == TEXT else bytes)
            assert len(payload) <= 200
    ends = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=5)) | {0, len(raw)})
    for pieces in [raw[start:end] for start, end in pairwise(ends)], [raw[at : at + 1] for at in range(len(raw))]:
        assert read(pieces, deflate, most, 200) == (events, code)
