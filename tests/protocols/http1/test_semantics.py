"""The judgement of a request's head, as a table."""

import pytest

from corehttp.errors import PeerError
from corehttp.protocols.http1.semantics import Intent, judge, origin_form, use_authority

Fields = list[tuple[bytes, bytes]]
HOST = (b"host", b"a")


def judged(
    *fields: tuple[bytes, bytes], method: str = "GET", target: bytes = b"/", version: str = "1.1", host: bool = True
) -> Intent:
    headers = [HOST, *fields] if host else list(fields)
    return judge(method, target.decode("latin-1"), version, headers, dict(headers))


@pytest.mark.parametrize(
    ("version", "connection", "persistent"),
    [
        ("1.1", [], True),
        ("1.1", [b"keep-alive"], True),
        ("1.1", [b"x"], True),
        ("1.1", [b"closed"], True),
        ("1.1", [b"close"], False),
        ("1.1", [b"Close"], False),
        ("1.1", [b"keep-alive, close"], False),
        ("1.1", [b"x", b"close"], False),
        ("1.1", [b"close", b"x"], False),
        ("1.1", [b",,close,,"], False),
        ("1.0", [], False),
        ("1.0", [b"x"], False),
        ("1.0", [b"keep-alive"], True),
        ("1.0", [b"Keep-Alive"], True),
        ("1.0", [b"x", b"keep-alive"], True),
        ("1.0", [b"keep-alive, close"], False),
        ("1.0", [b"keep-alive", b"close"], False),
    ],
)
def test_persistence_follows_version_and_connection(version: str, connection: list[bytes], persistent: bool) -> None:
    intent = judged(*[(b"connection", value) for value in connection], version=version)
    assert intent.persistent is persistent
    assert intent.length == 0
    assert not intent.expects_continue


@pytest.mark.parametrize(
    ("method", "version", "connection", "plain"),
    [
        ("GET", "1.1", b"keep-alive", True),
        ("POST", "1.1", b"x", True),
        ("HEAD", "1.1", b"keep-alive", False),
        ("GET", "1.1", b"close", False),
        ("GET", "1.0", b"keep-alive", False),
    ],
)
@pytest.mark.parametrize("body", [[], [(b"content-length", b"3")]])
def test_a_request_is_plain_when_nothing_in_it_bears_on_the_framing_of_its_response(
    method: str, version: str, connection: bytes, plain: bool, body: Fields
) -> None:
    assert judged((b"connection", connection), *body, method=method, version=version).plain is plain


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([], 0),
        ([(b"content-length", b"0")], 0),
        ([(b"content-length", b"7")], 7),
        ([(b"content-length", b"007")], 7),
        ([(b"content-length", b"9223372036854775807")], 2**63 - 1),
        ([(b"transfer-encoding", b"chunked")], -1),
        ([(b"transfer-encoding", b"Chunked")], -1),
    ],
)
def test_the_body_has_a_length_or_is_chunked(fields: Fields, length: int) -> None:
    for method in ("GET", "POST", "HEAD"):
        assert judged(*fields, method=method).length == length


@pytest.mark.parametrize(
    ("version", "body", "expectation", "expects"),
    [
        ("1.1", (b"content-length", b"3"), b"100-continue", True),
        ("1.1", (b"content-length", b"3"), b"100-Continue", True),
        ("1.1", (b"transfer-encoding", b"chunked"), b"100-continue", True),
        ("1.1", (b"content-length", b"0"), b"100-continue", False),
        ("1.1", (b"x", b"y"), b"100-continue", False),
        ("1.0", (b"content-length", b"3"), b"100-continue", False),
    ],
)
def test_continue_is_expected_only_by_http_1_1_and_with_a_body(
    version: str, body: tuple[bytes, bytes], expectation: bytes, expects: bool
) -> None:
    assert judged(body, (b"expect", expectation), version=version).expects_continue is expects


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (400, [HOST]),
        (400, [(b"content-length", b"1"), (b"content-length", b"1")]),
        (400, [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")]),
        (400, [(b"expect", b"100-continue"), (b"expect", b"100-continue")]),
        (400, [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]),
        (400, [(b"content-length", b"1"), (b"transfer-encoding", b"gzip")]),
        (501, [(b"transfer-encoding", b"gzip")]),
        (501, [(b"transfer-encoding", b"gzip, chunked")]),
        (501, [(b"transfer-encoding", b"chunked;x=y")]),
        (400, [(b"transfer-encoding", b"")]),
        (417, [(b"expect", b"x")]),
        (417, [(b"expect", b"")]),
        *[
            (400, [(b"content-length", value)])
            for value in (
                b"",
                b"-1",
                b"+1",
                b"1,1",
                b"1 1",
                b" 1",
                b"0x1",
                b"1_0",
                b"1.0",
                b"\xb2",
                b"9" * 19,
                b"1" * 20,
            )
        ],
    ],
)
def test_fields_that_contradict_each_other_or_themselves_are_refused(status: int, fields: Fields) -> None:
    with pytest.raises(PeerError) as caught:
        judged(*fields)
    assert caught.value.status == status


@pytest.mark.parametrize("version", ["0.9", "1.2", "2.0", "3.0", "1.10", ""])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(PeerError) as caught:
        judged(version=version)
    assert caught.value.status == 505


def test_http_1_0_has_no_transfer_codings() -> None:
    with pytest.raises(PeerError) as caught:
        judged((b"transfer-encoding", b"chunked"), version="1.0")
    assert caught.value.status == 400


def test_only_http_1_0_does_without_host() -> None:
    assert not judged(host=False, version="1.0").persistent
    with pytest.raises(PeerError) as caught:
        judged(host=False)
    assert caught.value.status == 400


GOOD_HOSTS = [b"a", b"A.example", b"a:", b"a:0", b"a:65535", b"127.0.0.1", b"[::1]", b"[::ffff:1.2.3.4]:80", b""]
BAD_HOSTS = [
    b"a b",
    b"a/",
    b"a?",
    b"a#",
    b"u@a",
    b"a:b",
    b"a:1:2",
    b"a:123456",
    b"[a",
    b"a]",
    b"[::1]x",
    b"::1",
    b"\xe9",
]


@pytest.mark.parametrize("host", GOOD_HOSTS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_good_host_is_accepted_each_time(host: bytes, version: str) -> None:
    for _ in range(2):
        judged((b"host", host), host=False, version=version)


@pytest.mark.parametrize("host", BAD_HOSTS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_bad_host_is_refused_each_time(host: bytes, version: str) -> None:
    for _ in range(2):
        with pytest.raises(PeerError) as caught:
            judged((b"host", host), host=False, version=version)
        assert caught.value.status == 400


def test_any_number_of_hosts_is_judged_rightly() -> None:
    for number in range(2000):
        judged((b"host", b"host-%d" % number), host=False)
    with pytest.raises(PeerError):
        judged((b"host", b"a b"), host=False)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", b"a", 400),
        ("GET", b"?a", 400),
        ("GET", b"*", 400),
        ("OPTIONS", b"*a", 400),
        ("GET", b"/#", 400),
        ("GET", b"/a b", None),  # no parser lets a space through
        ("GET", b"/\x7f", 400),
        ("GET", b"/\x1f", 400),
        ("GET", b"/\t", 400),
        ("GET", b"/\x80", 400),
        ("GET", b"http://", 400),
        ("GET", b"http:/a", 400),
        ("GET", b"http://b/", None),
        ("GET", b"http://a:80/", None),
        ("GET", b"http://a/#b", 400),
        ("GET", b"http://a/\x80", 400),
        ("GET", b"ftp://a/", 400),
        ("GET", b"a:80", 400),
        ("CONNECT", b"a:80", 501),
        ("CONNECT", b"/", 501),
        ("CONNECT", b"*", 501),
        ("OPTIONS", b"*", None),
        ("GET", b"/", None),
        ("GET", b"//a", None),
        ("GET", b"/%00", None),
        ("GET", b"http://a", None),
        ("GET", b"HTTPS://A/b?c", None),
    ],
)
def test_a_target_has_one_of_the_forms_of_its_method(method: str, target: bytes, status: int | None) -> None:
    if status is None:
        assert judged(method=method, target=target).persistent
        return
    with pytest.raises(PeerError) as caught:
        judged(method=method, target=target)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"*", b"*"),
        (b"http://a", b"/"),
        (b"http://a/", b"/"),
        (b"http://a/b?c", b"/b?c"),
        (b"https://a:1?c", b"/?c"),
        (b"HTTP://[::1]/b", b"/b"),
    ],
)
def test_the_origin_form_of_a_target_is_its_path_and_query(target: bytes, origin: bytes) -> None:
    assert origin_form(target) == origin


@pytest.mark.parametrize(
    ("target", "fields", "expected"),
    [
        (b"http://b:80/", [(b"x", b"y"), HOST], [(b"x", b"y"), (b"host", b"b:80")]),
        (b"HTTPS://A", [HOST], [(b"host", b"A")]),
        (b"http://[::1]:?c", [HOST], [(b"host", b"[::1]:")]),
        (b"http://a/", [], [HOST]),  # HTTP/1.0
        (b"*", [HOST], [HOST]),
        (b"/http://b/", [HOST], [HOST]),
    ],
)
def test_the_host_of_an_absolute_target_is_the_one_that_counts(target: bytes, fields: Fields, expected: Fields) -> None:
    headers = fields.copy()
    use_authority(target, headers)
    assert headers == expected
