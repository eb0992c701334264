"""Which traceparent is valid (W3C Trace Context), and which ids a log line has."""

import pytest

from corehttp.trace_ids import trace_ids, trace_ids_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
FOUND = {"trace_id": TRACE, "span_id": SPAN}


@pytest.mark.parametrize(
    "value",
    [
        f"00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-00",
        f"00-{TRACE}-{SPAN}-ff",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-01-",
    ],
)
def test_a_valid_traceparent_names_trace_and_span(value: str) -> None:
    assert trace_ids([(b"host", b"a"), (b"traceparent", value.encode())]) == FOUND


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00_{TRACE}_{SPAN}_01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_an_invalid_one_names_nothing(value: str) -> None:
    assert trace_ids([(b"traceparent", value.encode())]) == {}


def test_of_two_neither_counts() -> None:
    field = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert trace_ids([field, field]) == {}


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([b"7b6e-42"], {"request_id": "7b6e-42"}),
        ([b"a" * 200], {"request_id": "a" * 200}),
        ([b"a" * 201], {}),
        ([b""], {}),
        ([b"two words"], {}),
        ([b"\xe9"], {}),
        ([b"first", b"second"], {"request_id": "first"}),
        ([b"", b"second"], {"request_id": "second"}),
    ],
)
def test_a_request_id_is_a_word_of_bounded_length(values: list[bytes], found: dict[str, str]) -> None:
    assert trace_ids([(b"x-request-id", value) for value in values]) == found


def test_both_ids_come_together() -> None:
    fields = [(b"x-request-id", b"7"), (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    assert trace_ids(fields) == {**FOUND, "request_id": "7"}


@pytest.mark.parametrize("headers", [None, 7, [1], [(1,)], [("traceparent", "x")], [(b"x-request-id", 5)], []])
def test_whatever_an_application_puts_into_its_scope_names_nothing(headers: object) -> None:
    assert trace_ids_of({"headers": headers}) == {}
    assert trace_ids_of({}) == {}
