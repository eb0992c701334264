"""What comes over a channel is input: whatever it is, it is understood or refused, and nothing else happens."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc.codec import DEPTH, dump, load
from corehttp.ipc.messages import (
    ALLOWED_OF_CHILD,
    FROM_CHILD,
    FROM_SUPERVISOR,
    LIMIT,
    TEXT_LIMIT,
    GarbledError,
    Message,
    Parser,
    encode,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | text
    | st.binary(max_size=50),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "bytes", "tuple", "dict", ""]), inner, max_size=3)
    ),
    max_leaves=10,
)
of_child = st.one_of(
    st.just(("ready",)),
    st.just(("closed",)),
    st.just(("drained",)),
    st.tuples(st.just("failed"), text, text),
    st.tuples(st.just("retire"), text),
    st.tuples(st.just("forked"), st.integers(2, 2**31 - 1)),
)
cuts = st.lists(st.integers(1, 300), min_size=1, max_size=10)


@given(plain)
def test_a_value_comes_back_as_it_was(value: object) -> None:
    assert repr(load(dump(value))) == repr(value)  # types too: a tuple is no list


@given(st.binary(max_size=200))
def test_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        value = load(data)
    except ValueError:
        return
    assert len(dump(value)) <= len(data)


@pytest.mark.parametrize("value", [2**63, 1j, object(), {1, 2}])
def test_what_is_not_plain_is_an_error_of_its_sender(value: object) -> None:
    with pytest.raises(ValueError, match="a value of type"):
        dump(value)


def test_what_is_nested_too_deeply_is_an_error() -> None:
    value: object = None
    for _ in range(DEPTH - 1):
        value = (value,)
    assert load(dump(value)) == value
    with pytest.raises(ValueError, match="nested"):
        dump((value,))


def framed(payload: bytes) -> bytes:
    return struct.pack("!I", len(payload)) + payload


def parse(parser: Parser, data: bytes, sizes: list[int]) -> list[Message]:
    """What a parser makes of the data in pieces of these sizes, over and over."""
    found: list[Message] = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        parser.feed(data[:size])
        data, turn = data[size:], turn + 1
        while (message := parser.take()) is not None:
            found.append(message)
    return found


@given(st.dictionaries(text, plain, max_size=5), cuts)
def test_a_boot_message_comes_through_exactly_however_it_is_cut(boot: dict[str, object], sizes: list[int]) -> None:
    [(kind, received)] = parse(Parser(FROM_SUPERVISOR), encode(("boot", boot)), sizes)
    assert kind == "boot"
    assert repr(received) == repr(boot)  # types too: a tuple is no list


@given(st.lists(of_child, max_size=8, unique_by=lambda message: message[0]), cuts)
def test_messages_come_through_however_they_are_cut(sent: list[Message], sizes: list[int]) -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.expect("forked")
    assert parse(parser, b"".join(map(encode, sent)), sizes) == sent


@given(st.binary(max_size=2000), cuts)
def test_arbitrary_bytes_are_refused_or_awaited(data: bytes, sizes: list[int]) -> None:
    try:
        found = parse(Parser(FROM_CHILD, ALLOWED_OF_CHILD), data, sizes)
    except GarbledError as error:
        found = []
        told = str(error)
    else:
        told = ""
    assert found == []
    assert len(told) < 200
    assert told.isprintable()


@given(st.binary(max_size=300) | plain.map(dump))
def test_arbitrary_payloads_are_messages_or_refused(payload: bytes) -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.feed(framed(payload))
    try:
        message = parser.take()
    except GarbledError:
        with pytest.raises(GarbledError):
            parser.take()
    else:
        assert message is not None
        assert message[0] in FROM_CHILD


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"N",
        dump(()),
        dump("ready"),
        dump(["ready"]),
        dump({"0": "ready"}),
        dump((None,)),
        dump(((),)),
        dump((("ready",),)),
        dump(("unknown",)),
        dump(("boot", {})),
        dump(("serve",)),
        dump(("ready", 1)),
        dump(("failed",)),
        dump(("failed", "a")),
        dump(("failed", 1, 2)),
        dump(("failed", "a", "\ud800")),
        dump(("failed", "a", "x" * (TEXT_LIMIT + 1))),
        dump(("retire", ["a"])),
        dump(("retire", {"a": 1})),
        dump(("forked", 7)),  # nobody has asked for it
        dump(("ready",)) + b"N",
        dump(("ready",))[:-1],
        b"(\0\0\0\1" * 100_000,
        b"[\0\0\0\1" * 100_000 + b"N",
        b"(\xff\xff\xff\xff" + b"N" * 1000,
        b"(\0\0\0\1s\xff\xff\xff\xffready",
        b"(\0\0\0\1s\0\0\0\2\xff\xfe",
        b"{\0\0\0\1NN",
        b"i\0",
        b"(\0\0\0\1?",
    ],
    ids=lambda payload: repr(payload[:24]),
)
def test_what_a_child_may_not_say_is_refused(payload: bytes) -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.feed(framed(payload))
    with pytest.raises(GarbledError):
        parser.take()


@pytest.mark.parametrize("pid", [0, 1, -1, True, 1.5, "7", None, 99999999999, [7]])
def test_a_pid_is_a_number_that_can_be_one(pid: object) -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.expect("forked")
    parser.feed(encode(("forked", pid)))
    with pytest.raises(GarbledError):
        parser.take()


@pytest.mark.parametrize("kind", sorted(FROM_CHILD))
def test_a_child_says_nothing_more_often_than_it_may(kind: str) -> None:
    details: Message = {"failed": ("a", "b"), "retire": ("a",), "forked": (7,), "not forked": ("a",)}.get(kind, ())
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    if not ALLOWED_OF_CHILD[kind]:
        parser.expect(kind)
    parser.feed(encode((kind, *details)) * 2)
    assert parser.take() == (kind, *details)
    with pytest.raises(GarbledError, match="nobody has asked for"):
        parser.take()


def test_a_size_that_is_too_large_is_refused_before_anything_of_it_is_kept() -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.feed(struct.pack("!I", LIMIT + 1))
    with pytest.raises(GarbledError):
        parser.take()


def test_the_largest_message_takes_a_bounded_amount_of_memory() -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.feed(framed(dump(("retire", [()] * (LIMIT // 5 - 20)))))
    tracemalloc.start()
    with pytest.raises(GarbledError):
        parser.take()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * LIMIT


def test_a_long_text_loses_its_middle_and_one_that_is_no_unicode_is_escaped() -> None:
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    parser.feed(encode(("failed", "\ud800", "first\n" + "x" * 500_000 + "\nlast")))
    message = parser.take()
    assert message is not None
    _, short, long = message
    assert short == "\\ud800"
    assert str(long).startswith("first\n")
    assert str(long).endswith("\nlast")
    assert len(str(long)) <= TEXT_LIMIT


def test_a_message_that_is_too_large_is_an_error_of_its_sender() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(("boot", {"path": ["x" * LIMIT]}))
