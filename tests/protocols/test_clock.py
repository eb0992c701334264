"""The Date line, and the other lines of every response."""

import pytest

from corehttp.protocols.clock import Clock, http_date


@pytest.mark.parametrize(
    ("wall", "date"),
    [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (784111777, "Sun, 06 Nov 1994 08:49:37 GMT"),  # the example of RFC 9110, 5.6.7
        (784111777.999, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951782400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"),
        (1709251200, "Fri, 01 Mar 2024 00:00:00 GMT"),
        (1767225599, "Wed, 31 Dec 2025 23:59:59 GMT"),
        (1767225600, "Thu, 01 Jan 2026 00:00:00 GMT"),
        (4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (1775455145, "Mon, 06 Apr 2026 05:59:05 GMT"),
    ],
)
def test_a_date_is_an_imf_fixdate(wall: float, date: str) -> None:
    assert http_date(wall) == date


def test_the_lines_follow_the_time() -> None:
    clock = Clock(server=b"corehttp", fields=((b"x-a", b"b"), (b"x-c", b"d")))
    clock.update(5.0, 784111777)
    assert clock.now == 5.0
    assert clock.lines == (b"server: corehttp\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nx-a: b\r\nx-c: d\r\n")
    clock.update(6.0, 784111778)
    assert clock.now == 6.0
    assert clock.lines == (b"server: corehttp\r\ndate: Sun, 06 Nov 1994 08:49:38 GMT\r\nx-a: b\r\nx-c: d\r\n")


@pytest.mark.parametrize(
    ("date", "server", "lines"),
    [
        (False, False, b"server: s\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-a: b\r\n"),
        (True, False, b"server: s\r\nx-a: b\r\n"),
        (False, True, b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\nx-a: b\r\n"),
        (True, True, b"x-a: b\r\n"),
    ],
)
def test_a_response_with_its_own_date_or_server_gets_the_other_lines(date: bool, server: bool, lines: bytes) -> None:
    clock = Clock(server=b"s", fields=((b"x-a", b"b"),))
    clock.update(0.0, 0.0)
    assert clock.lines_without(date=date, server=server) == lines


def test_a_date_or_server_that_the_operator_has_set_takes_the_place_of_ours() -> None:
    clock = Clock(server=b"s", fields=((b"Server", b"t"), (b"Date", b"today"), (b"x-a", b"b")))
    clock.update(0.0, 0.0)
    assert clock.lines == b"Server: t\r\nDate: today\r\nx-a: b\r\n"
    assert clock.lines_without(date=False, server=True) == b"Date: today\r\nx-a: b\r\n"
    assert clock.lines_without(date=True, server=False) == b"Server: t\r\nx-a: b\r\n"


def test_date_and_server_can_be_left_out() -> None:
    clock = Clock(date=False)
    clock.update(0.0, 0.0)
    assert clock.lines == b""
