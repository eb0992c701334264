"""The lines that go over a control socket, both ways."""

import json

import pytest

from corehttp.control import messages
from corehttp.control.messages import ControlRequest, Fault, RequestError


def test_a_request_comes_out_as_it_was_put_in() -> None:
    line = messages.encode_request("scale", {"workers": 4})
    assert line.endswith(b"\n")
    assert messages.parse_request(line) == ControlRequest("scale", {"workers": 4, "schema": 1})


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"\xff", b"5", b"[]", b"null", b"[" * 60000, b'{"verb": 1}', b"{}"])
def test_what_is_no_request_is_refused_with_what_would_be_one(line: bytes) -> None:
    with pytest.raises(RequestError, match=r'as in {"verb": "status"}$'):
        messages.parse_request(line)


def test_a_request_has_a_bound() -> None:
    with pytest.raises(RequestError, match="a request of more than 65536 bytes"):
        messages.parse_request(b" " * 65537)


def test_each_line_of_an_answer_says_what_it_is_and_of_which_form() -> None:
    lines = [messages.progress({"text": "a"}), messages.result({"text": "b"}), messages.error(Fault.BUSY, "full")]
    assert [json.loads(line) for line in lines] == [
        {"kind": "progress", "schema": 1, "text": "a"},
        {"kind": "result", "schema": 1, "text": "b"},
        {"kind": "error", "schema": 1, "fault": "busy", "reason": "full"},
    ]
    assert all(line.count(b"\n") == 1 for line in lines)
    assert messages.parse_answer(lines[0])["kind"] == "progress"


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"kind": 1}', b"[" * 60000, b"\xff"])
def test_what_is_no_answer_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        messages.parse_answer(line)
