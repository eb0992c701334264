"""The atoms of `--access-log-format`, as gunicorn's documentation defines them, and forms that are refused."""

import base64
import re
from typing import Any

import gunicorn.config  # type: ignore[import-untyped]
import pytest

from corehttp.access_format import _ATOMS, LoggedRequest, Process, check_format, clf_time
from corehttp.protocols.observers import AccessRecord

RECORD: AccessRecord = ("192.0.2.1:5000", "POST", "/a%20b/c?q=1&r=%22", "1.1", 201, 512, 2_345.678)
SENT = (
    (b"host", b"example.org"),
    (b"referer", b"https://example.org/from"),
    (b"user-agent", b'Mozilla/5.0 "quoted" \x9b31m'),
    (b"authorization", b"Basic " + base64.b64encode(b"alice:secret")),
    (b"x-request-id", b"7"),
    (b"x-many", b"one"),
    (b"x-many", b"two"),
    (b"content-type", b"text/plain"),
)
ANSWERED = ((b"Content-Type", b"text/html"), (b"x-cache", b"HIT"))
TIME = "[30/Nov/2026:10:00:00 +0100]"


def line(form: str, record: AccessRecord = RECORD, fields: Any = SENT, answered: Any = ANSWERED) -> str:
    return form % LoggedRequest(Process(42, {"HOSTNAME": "web-1", "path": "x"}), record, fields, answered, TIME)


@pytest.mark.parametrize(
    ("atom", "text"),
    [
        ("h", "192.0.2.1"),
        ("l", "-"),
        ("u", "alice"),
        ("t", TIME),
        ("r", "POST /a%20b/c?q=1&r=%22 HTTP/1.1"),
        ("m", "POST"),
        ("U", "/a b/c"),
        ("q", "q=1&r=%22"),
        ("H", "HTTP/1.1"),
        ("s", "201"),
        ("B", "512"),
        ("b", "512"),
        ("f", "https://example.org/from"),
        ("a", 'Mozilla/5.0 \\"quoted\\" \\x9b31m'),
        ("T", "2"),
        ("M", "2345"),
        ("D", "2345678"),
        ("L", "2.345678"),
        ("p", "<42>"),
        ("{x-request-id}i", "7"),
        ("{X-Request-ID}i", "7"),
        ("{x-many}i", "two"),
        ("{x-none}i", "-"),
        ("{content-type}o", "text/html"),
        ("{X-Cache}o", "HIT"),
        ("{date}o", "-"),
        ("{hostname}e", "web-1"),
        ("{path}e", "x"),
        ("{none}e", "-"),
        ("{request_method}e", "POST"),
        ("{http_host}e", "example.org"),
        ("{content_type}e", "text/plain"),
        ("{remote_addr}e", "192.0.2.1"),
        ("{server_protocol}e", "HTTP/1.1"),
    ],
)
def test_an_atom_is_what_gunicorns_documentation_says(atom: str, text: str) -> None:
    assert line(f"%({atom})s") == text


def test_every_atom_of_gunicorns_documentation_is_there() -> None:
    rows = re.findall(r"^\| (\S+) +\|", gunicorn.config.AccessLogFormat.desc, re.MULTILINE)
    atoms = {row for row in rows if row != "Identifier"}
    assert {atom for atom in atoms if not atom.startswith("{")} == set(_ATOMS)
    assert {atom[-1] for atom in atoms if atom.startswith("{")} == {"i", "o", "e"}


def test_the_default_of_gunicorn_makes_the_line_that_its_parsers_know() -> None:
    form = gunicorn.config.AccessLogFormat.default
    check_format(form)
    assert line(form) == (
        f'192.0.2.1 - alice {TIME} "POST /a%20b/c?q=1&r=%22 HTTP/1.1" 201 512 "https://example.org/from" '
        '"Mozilla/5.0 \\"quoted\\" \\x9b31m"'
    )


def test_numbers_can_be_aligned() -> None:
    assert line("%(s)5d|%(M)-6d|%(T)03d|%(h)-12s|%%") == "  201|2345  |002|192.0.2.1   |%"


@pytest.mark.parametrize(
    ("client", "address"),
    [
        ("[2001:db8::1]:5000", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("192.0.2.1", "192.0.2.1"),
        ("-", "-"),
    ],
)
def test_a_client_is_its_address_without_a_port(client: str, address: str) -> None:
    assert line("%(h)s", (client, *RECORD[1:])) == address


def test_a_response_without_a_body_has_a_hyphen_in_the_common_log_format() -> None:
    record = (*RECORD[:5], 0, 0.0)
    assert line("%(B)s %(b)s %(L)s", record) == "0 - 0.000000"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic",
        b"Basic !",
        b"Bearer abc",
        b"Basic " + base64.b64encode(b"\xff:x"),
        b"Basic " + base64.b64encode(b":x"),
        b"Basic \xff",
    ],
)
def test_whoever_does_not_authenticate_has_no_name(value: bytes) -> None:
    assert line("%(u)s", fields=[(b"authorization", value)]) == "-"


def test_a_name_cannot_forge_a_line() -> None:
    value = b"basic " + base64.b64encode(b'a" 200\n127.0.0.1:x')
    assert line('"%(u)s"', fields=[(b"authorization", value)]) == '"a\\" 200\\n127.0.0.1"'


@pytest.mark.parametrize("fields", [None, 7, {}, [1, "x", (b"referer",), ("referer", "x"), (b"referer", 7)], iter(())])
def test_whatever_an_application_has_for_fields_ends_nothing(fields: object) -> None:
    assert line("%(f)s %({referer}o)s", fields=fields, answered=fields) == "- -"


@pytest.mark.parametrize(
    "form", ["%(h)s", "%(h)s %(l)s%%", "%({a}i)s", "%({a}o)-10s\t%({A_B}e)s", "x%(T)dx", '{"status": %(s)d}']
)
def test_a_form_with_atoms_is_taken(form: str) -> None:
    check_format(form)


@pytest.mark.parametrize(
    "form",
    [
        "combined",
        "100%%",
        "%(x)s",
        "%(h)",
        "%(h",
        "%h",
        "%s",
        "%(h)d",
        "%({a}i)d",
        "%({a}x)s",
        "%({a)s",
        "%()s",
        "%({}i",
        "%(h)s\n",
        "%(h)s\x1b[31m",
        "%(h)99999s",
        "%(h)9999999999s",
        "%(h)*s",
        "%(h)9999s" * 10,
    ],
)
def test_a_form_that_makes_no_line_is_refused(form: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_format(form)


@pytest.mark.parametrize(
    ("offset", "zone"), [(0, "+0000"), (3600, "+0100"), (-12600, "-0330"), (20700, "+0545"), (-3600, "-0100")]
)
def test_the_time_in_the_common_log_format(offset: int, zone: str) -> None:
    assert clf_time(2026, 11, 3, "10:00:00", offset) == f"[03/Nov/2026:10:00:00 {zone}]"
