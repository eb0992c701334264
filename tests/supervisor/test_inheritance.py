"""What a supervisor leaves to its successor comes through, and nothing else is taken for it."""

import base64
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.ipc.codec import dump
from corehttp.supervisor import inheritance, upgrade
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.inheritance import Inheritance
from corehttp.supervisor.upgrade import TakeoverResult, Upgrade

ADDRESS = ("127.0.0.1", 8000, None, None, "auto")


@pytest.fixture
def left() -> Iterator[Inheritance]:
    socks = [socket.socket() for _ in range(2)]
    ends = [sock for _ in range(2) for sock in socket.socketpair()]
    reader, writer = os.pipe()
    slots = tuple(((socks[n].fileno(),), ends[2 * n].fileno(), ends[2 * n + 1].fileno()) for n in range(2))
    yield Inheritance(slots, True, False, (1, 0), writer, ADDRESS)
    for sock in (*socks, *ends):
        sock.close()
    os.close(reader)
    os.close(writer)


def test_an_inheritance_comes_through(left: Inheritance) -> None:
    assert inheritance.read(inheritance.write(left)) == left


def test_one_whose_descriptors_are_other_files_here_is_not_ours(left: Inheritance) -> None:
    text = inheritance.write(left)
    [fd] = left.slots[0][0]
    with socket.socket() as other:
        os.dup2(other.fileno(), fd)
    assert inheritance.read(text) is None


@given(st.text(max_size=50) | st.binary(max_size=100).map(lambda data: base64.b64encode(data).decode()))
def test_whatever_stands_in_the_environment_is_no_error(text: str) -> None:
    assert inheritance.read(text) is None


FIELDS = ((), True, False, (), 0, ADDRESS)


@pytest.mark.parametrize(
    "content",
    [
        None,
        (),
        (FIELDS,),
        (FIELDS, ((0, 0),)),
        ((1, True, False, (), 0, ADDRESS), ()),
        ((((0, 0),), True, False, (), 0, ADDRESS), ()),
        (((((0,), 0, -1),), True, False, (), 0, ADDRESS), ()),
        (((((0,), 0, "0"),), True, False, (), 0, ADDRESS), ()),
        (((), True, False, (7,), 0, ADDRESS), ()),
        (((), True, False, (), 2**31, ADDRESS), ()),
        (((), True, False, (), 99999, ADDRESS), ()),
        (((), True, False, (), 0, None), ()),
        (((), True, False, (), 0, ADDRESS, ("0",)), ()),
        (((), True, False, (), 0, ADDRESS, (), ()), ()),
    ],
)
def test_what_has_another_shape_is_no_inheritance(content: object) -> None:
    assert inheritance.read(base64.b64encode(dump(content)).decode()) is None


def test_garbage_in_the_environment_is_told_and_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(inheritance.VARIABLE, "garbage")
    assert upgrade.inherited(ADDRESS) is None
    assert inheritance.VARIABLE not in os.environ
    assert "is ignored: it is not for this process" in caplog.text


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"+", TakeoverResult.TAKEN_OVER),
        (b"-", TakeoverResult.ELSEWHERE),
        (b"", TakeoverResult.FAILED),
        (b"?", TakeoverResult.FAILED),
        (b"\0+", TakeoverResult.FAILED),
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure(said: bytes, answer: TakeoverResult) -> None:
    reader, writer = os.pipe()
    os.write(writer, said)
    os.close(writer)
    successor = Upgrade(ADDRESS, Deployment())
    successor._reader = reader
    assert successor.answer() is answer
