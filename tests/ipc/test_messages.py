"""What comes over a channel is input: whatever it is, it is understood or refused, and nothing else happens."""

import struct
import tracemalloc
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc.codec import DEPTH, dump, load
from corehttp.ipc.message_stream import LIMIT, GarbledError, Parser, encode
from corehttp.ipc.messages import (
    ALLOWED_OF_CHILD,
    FROM_CHILD,
    FROM_SUPERVISOR,
    VERSION,
    Answer,
    Ask,
    Boot,
    Changed,
    Closed,
    Drained,
    Fork,
    Forked,
    FromChild,
    FromSupervisor,
    Inboxes,
    Leave,
    LeaveReason,
    NotForked,
    Ready,
    Reopen,
    Reopened,
    Retire,
    Seat,
    Serve,
    StartFailed,
    SteppedDown,
    WatchSince,
)
from corehttp.ipc.shapes import TEXT_LIMIT

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
of_child: st.SearchStrategy[FromChild] = st.one_of(
    st.just(Ready()),
    st.just(Closed()),
    st.just(Drained()),
    st.builds(StartFailed, text, text),
    st.builds(Retire, text),
    st.builds(Reopened, text),
    st.builds(Forked, st.integers(2, 2**31 - 1)),
    st.builds(NotForked, text),
    st.builds(Ask, st.integers(0, 2**31), text, st.dictionaries(text, plain, max_size=5)),
)
whole = st.integers(0, 2**31)
of_supervisor: st.SearchStrategy[FromSupervisor] = st.one_of(
    st.just(Serve()),
    st.just(Fork()),
    st.just(Reopen()),
    st.builds(Leave, st.sampled_from(LeaveReason)),
    st.builds(Inboxes, st.lists(whole, max_size=5).map(tuple)),
    st.builds(Answer, whole, st.dictionaries(text, plain, max_size=5)),
    st.builds(WatchSince, st.integers(0, 2**62)),
    st.builds(
        Boot,
        whole,
        st.dictionaries(text, plain, max_size=5),
        text,
        st.lists(text, max_size=3),
        st.lists(text, max_size=3),
        st.none() | st.builds(Seat, whole, whole, st.lists(whole, max_size=3).map(tuple), st.booleans()),
    ),
)
M = TypeVar("M")
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


def child_parser(*expected: type[FromChild]) -> Parser[FromChild]:
    """What the supervisor reads a child's messages with, after these were asked for as well."""
    parser = Parser(FROM_CHILD, ALLOWED_OF_CHILD)
    for kind in expected:
        parser.expect(kind)
    return parser


def boot(config: dict[str, object]) -> Boot:
    return Boot(VERSION, config, "/", [], [])


def parse(parser: Parser[M], data: bytes, sizes: list[int]) -> list[M]:
    """What a parser makes of the data in pieces of these sizes, over and over."""
    found: list[M] = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        parser.feed(data[:size])
        data, turn = data[size:], turn + 1
        while (message := parser.take()) is not None:
            found.append(message)
    return found


@given(st.dictionaries(text, plain, max_size=5), cuts)
def test_a_boot_message_comes_through_exactly_however_it_is_cut(config: dict[str, object], sizes: list[int]) -> None:
    [received] = parse(Parser(FROM_SUPERVISOR), encode(boot(config)), sizes)
    assert isinstance(received, Boot)
    assert repr(received.config) == repr(config)  # types too: a tuple is no list


@given(st.lists(of_child, max_size=8, unique_by=type), cuts)
def test_messages_come_through_however_they_are_cut(sent: list[FromChild], sizes: list[int]) -> None:
    assert parse(child_parser(Forked, NotForked, Reopened, Ask), b"".join(map(encode, sent)), sizes) == sent


@given(st.lists(of_supervisor, max_size=8), cuts)
def test_what_the_supervisor_sends_comes_through_however_it_is_cut(
    sent: list[FromSupervisor], sizes: list[int]
) -> None:
    received = parse(Parser(FROM_SUPERVISOR), b"".join(map(encode, sent)), sizes)
    assert repr(received) == repr(sent)  # types too: a tuple is no list


@given(st.binary(max_size=2000), cuts)
def test_arbitrary_bytes_are_refused_or_awaited(data: bytes, sizes: list[int]) -> None:
    try:
        found = parse(child_parser(), data, sizes)
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
    parser = child_parser()
    parser.feed(framed(payload))
    try:
        message = parser.take()
    except GarbledError:
        with pytest.raises(GarbledError):
            parser.take()
    else:
        assert message is not None
        assert type(message) in ALLOWED_OF_CHILD


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
    parser = child_parser()
    parser.feed(framed(payload))
    with pytest.raises(GarbledError):
        parser.take()


@pytest.mark.parametrize("pid", [0, 1, -1, True, 1.5, "7", None, 99999999999, [7]])
def test_a_pid_is_a_number_that_can_be_one(pid: object) -> None:
    parser = child_parser(Forked)
    parser.feed(framed(dump(("forked", pid))))
    with pytest.raises(GarbledError):
        parser.take()


ONE_OF_EACH: list[FromChild] = [
    Ready(),
    StartFailed("a", "b"),
    Closed(),
    Drained(),
    Forked(7),
    NotForked("a"),
    Retire("a"),
    Reopened("a"),
    SteppedDown(),
    Ask(1, "status", {"worker": 1}),
    Changed("main.py has changed"),
]


@pytest.mark.parametrize("kind", sorted(FROM_CHILD))
def test_a_child_says_nothing_more_often_than_it_may(kind: str) -> None:
    cls = FROM_CHILD[kind].cls
    [message] = [one for one in ONE_OF_EACH if type(one) is cls]
    parser = child_parser()
    if not ALLOWED_OF_CHILD[cls]:
        parser.expect(cls)
    parser.feed(encode(message) * 2)
    assert parser.take() == message
    with pytest.raises(GarbledError, match="nobody has asked for"):
        parser.take()


def test_a_size_that_is_too_large_is_refused_before_anything_of_it_is_kept() -> None:
    parser = child_parser()
    parser.feed(struct.pack("!I", LIMIT + 1))
    with pytest.raises(GarbledError):
        parser.take()


def test_the_largest_message_takes_a_bounded_amount_of_memory() -> None:
    parser = child_parser()
    parser.feed(framed(dump(("retire", [()] * (LIMIT // 5 - 20)))))
    tracemalloc.start()
    with pytest.raises(GarbledError):
        parser.take()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * LIMIT


def test_a_long_text_loses_its_middle_and_one_that_is_no_unicode_is_escaped() -> None:
    parser = child_parser()
    parser.feed(encode(StartFailed("\ud800", "first\n" + "x" * 500_000 + "\nlast")))
    message = parser.take()
    assert isinstance(message, StartFailed)
    short, long = message.message, message.traceback
    assert short == "\\ud800"
    assert str(long).startswith("first\n")
    assert str(long).endswith("\nlast")
    assert len(str(long)) <= TEXT_LIMIT


def test_a_message_that_is_too_large_is_an_error_of_its_sender() -> None:
    with pytest.raises(ValueError, match="at most"):
        encode(boot({"path": ["x" * LIMIT]}))


def heard(data: bytes, sizes: list[int], *expected: type[FromChild]) -> tuple[list[FromChild], str]:
    """The messages that the supervisor makes of these bytes, and why it reads no further, if it does not."""
    parser, found, turn = child_parser(*expected), list[FromChild](), 0
    try:
        while data:
            size = sizes[turn % len(sizes)]
            parser.feed(data[:size])
            data, turn = data[size:], turn + 1
            while (message := parser.take()) is not None:
                found.append(message)
    except GarbledError as error:
        return found, str(error)
    return found, ""


def flip(data: bytes, at: int, by: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


def drop(data: bytes, at: int, by: int) -> bytes:
    at %= len(data)
    return data[:at] + data[at + by :]


def insert(data: bytes, at: int, by: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([by]) * by + data[at:]


def repeat(data: bytes, at: int, by: int) -> bytes:
    return data + data[at % len(data) :]


mutation = st.tuples(st.sampled_from([flip, drop, insert, repeat]), st.integers(0, 10_000), st.integers(1, 255))


@given(st.lists(of_child, min_size=1, max_size=4, unique_by=type), mutation, cuts)
def test_valid_messages_that_something_has_changed_are_understood_or_refused(
    sent: list[FromChild], mutation: tuple[Callable[[bytes, int, int], bytes], int, int], sizes: list[int]
) -> None:
    change, at, by = mutation
    found, why = heard(change(b"".join(map(encode, sent)), at, by), sizes, Forked, NotForked, Reopened, Ask)
    assert len(why) < 200
    assert why.isprintable()
    kinds = [type(message) for message in found]
    assert len(set(kinds)) == len(kinds), "a kind was heard more often than it may be said"
    for message in found:
        [again] = parse(child_parser(Forked, NotForked, Reopened, Ask), encode(message), [1])
        same = again == message or repr(again) == repr(message)  # a NaN is not equal to itself
        assert same, "what was understood is no message that could have been sent"


@given(of_child, of_child, cuts)
def test_a_valid_message_that_comes_twice_is_refused_the_second_time(
    twice: FromChild, between: FromChild, sizes: list[int]
) -> None:
    sent = [twice, twice] if type(between) is type(twice) else [twice, between, twice]
    found, why = heard(b"".join(map(encode, sent)), sizes, Forked, NotForked, Reopened, Ask)
    assert found == sent[:-1]
    assert why.endswith("that nobody has asked for")


@given(of_child, cuts)
def test_behind_a_message_that_was_refused_nothing_is_heard(message: FromChild, sizes: list[int]) -> None:
    found, why = heard(framed(dump(("unknown",))) + encode(message), sizes, Forked, NotForked, Reopened, Ask)
    assert found == []
    assert why == "a message of an unknown kind, 'unknown'"


@pytest.mark.parametrize(
    "payload",
    [
        ("leave", "for lunch"),
        ("leave", ["stop"]),
        ("inboxes", [0]),
        ("inboxes", (-1,)),
        ("boot", {}),
        ("boot", {"version": 1}),
        ("boot", VERSION, {}, "/", [], []),
        ("boot", VERSION, {}, "/", [], [1], None),
        ("boot", VERSION, {}, "/", [], [], (0, 0, 1)),
        ("boot", VERSION, {}, "/", [], [], (0, 0, 1, 1)),
        ("boot", VERSION, {}, "/", [], [], (0, 0, (0,), 1)),
        ("boot", VERSION, {}, "/", [], [], (0, 0, 1, True)),
        ("boot", VERSION, {}, "/", [], [], (0, 0, (-1,), True)),
        ("boot", VERSION, {}, "/", [], [], (0, 0, [0], True)),
        ("boot", "new", {}, "/", [], [], None),
        ("ready",),
    ],
    ids=repr,
)
def test_a_child_understands_nothing_but_whole_messages_of_its_supervisor(payload: tuple[object, ...]) -> None:
    parser = Parser(FROM_SUPERVISOR)
    parser.feed(framed(dump(payload)))
    with pytest.raises(GarbledError):
        parser.take()


def test_a_path_that_is_no_unicode_comes_through_as_it_is() -> None:
    sent = Boot(VERSION, {}, "/\udcff", ["/\udcff", "x" * (TEXT_LIMIT + 1)], ["\udcff"])
    assert parse(Parser(FROM_SUPERVISOR), encode(sent), [100]) == [sent]
