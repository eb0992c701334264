"""Who sends a request and what it calls us: every rule as a table of what proxies say and what follows from it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.asgi import Headers
from corehttp.protocols import peer as peers
from corehttp.protocols.field_names import HOPS, forwarding
from corehttp.protocols.http1.sender import lenient_fields
from corehttp.protocols.peer import (
    Client,
    Peer,
    Trust,
    direct,
    judge_peer,
    name_of,
)

OWN = ("10.0.0.9", 8000)
PROXY = direct(("10.0.0.1", 40000), OWN)
UNIX = direct("", "/run/app.sock")
TRUST = Trust("10.0.0.0/8, 2001:db8:ffff::/48, unix")


def fields(**said: str | list[str]) -> Headers:
    """Fields such as X-Forwarded-For by the ends of their names, several lines of a name where a list is given."""
    lines = [(name, [value] if isinstance(value, str) else value) for name, value in said.items()]
    return [(f"x-forwarded-{name.rstrip('_')}".encode(), value.encode()) for name, values in lines for value in values]


def judge(trust: Trust, peer: Peer, headers: Headers) -> tuple[Peer, Headers]:
    """The verdict, which is the same when it is asked for again."""
    verdict = judge_peer(trust, peer, forwarding(dict(headers)), headers)
    assert judge_peer(trust, peer, forwarding(dict(headers)), headers) == verdict
    return verdict


def client_of(*lines: str, trust: Trust = TRUST, peer: Peer = PROXY) -> Client | None:
    return judge(trust, peer, fields(for_=list(lines)))[0].client


def judged(own: bytes = b"inner:8000", **said: str | list[str]) -> tuple[Peer, bytes]:
    """The peer and the Host field of a request with these fields."""
    peer, headers = judge(TRUST, PROXY, [(b"host", own), *fields(**said)])
    assert [name for name, _ in headers].count(b"host") == 1
    return peer, dict(headers)[b"host"]


# Who is trusted.


@pytest.mark.parametrize(
    ("trusted", "believed", "not_believed"),
    [
        ("127.0.0.1,::1,unix", ["127.0.0.1", "::1", "::ffff:127.0.0.1", None], ["127.0.0.2", "::2", "10.0.0.1"]),
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", None]),
        ("::ffff:10.0.0.0/104", ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0", "::1"]),
        ("::ffff:10.0.0.1", ["10.0.0.1"], ["10.0.0.2"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:0DB8:0:0::1"], ["2001:db9::1", "127.0.0.1"]),
        ("fe80::/10", ["fe80::1%eth0", "fe80::1"], ["::1"]),
        ("*", ["127.0.0.1", "2001:db8::1", None], []),
        (" 10.0.0.1 , unix ", ["10.0.0.1", None], ["10.0.0.2"]),
        ("", [], ["127.0.0.1", "::1", None]),
        ("0.0.0.0/0", ["203.0.113.1", "::ffff:203.0.113.1"], ["::1", None]),
        ("::ffff:0:0/96", ["203.0.113.1", "::ffff:203.0.113.1"], ["::1", None]),
        ("::/0", ["2001:db8::1", "fe80::1%eth0"], ["127.0.0.1", "::ffff:127.0.0.1", None]),
    ],
)
def test_who_is_believed(trusted: str, believed: list[str | None], not_believed: list[str | None]) -> None:
    trust = Trust(trusted)
    for expected, hosts in ((True, believed), (False, not_believed)):
        for host in hosts:
            peer = UNIX if host is None else direct((host, 1), OWN)
            assert trust.believes(peer) is expected, host


def test_a_client_that_has_left_before_its_address_was_asked_for_is_no_unix_peer() -> None:
    assert not Trust("unix").believes(direct(None, OWN))
    assert not Trust("unix").believes(direct(None, None))


@pytest.mark.parametrize(
    "wrong",
    ["proxy", "10.0.0.1/8", "10.0.0", "10.0.0.0/33", "::1%lo", "fe80::/10%eth0", "10.0.0.1:80", "[::1]", "1.2.3.4 ::1"],
)
def test_who_cannot_be_trusted(wrong: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # `config` says what is allowed
        Trust(wrong)


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    trust = Trust("10.0.0.0/8")
    for number in range(2000):
        trust.meaning(f"192.0.2.{number % 256}:{number}")
    assert len(trust._known) <= peers._REMEMBERED
    trust.meaning("fe80::1%" + "z" * 1000)
    assert max(map(len, trust._known)) <= peers._REMEMBERED_SIZE


def test_what_is_remembered_of_verdicts_is_bounded() -> None:
    trust = Trust("*")
    for number in range(2000):
        client_of(f"2001:db8::{number:x}", trust=trust)
    assert 0 < len(trust.attributions) <= peers._ATTRIBUTIONS
    count = len(trust.attributions)
    client_of("203.0.113.7, " * 30, trust=trust)
    client_of(*[""] * 100, "203.0.113.7", trust=trust)
    assert len(trust.attributions) == count


def test_what_decides_nothing_is_not_remembered() -> None:
    trust = Trust("*")
    for number in range(10):
        invented = [(b"x-forwarded-%d-" % number + b"n" * 1000, b""), (b"forwarded", b"%d" % number)]
        judge(trust, PROXY, [*fields(for_="203.0.113.7"), *invented])
    (key,) = trust.attributions
    assert key[3:] == ((b"x-forwarded-for", b"203.0.113.7"),)


def test_a_verdict_that_is_remembered_is_nobody_elses() -> None:
    for said in (fields(for_="203.0.113.7"), fields(proto="https"), fields(for_="unknown"), fields(host="a")):
        for peer in (PROXY, direct(("10.0.0.2", 2), OWN), direct(("10.0.0.1", 1), ("10.0.0.8", 80), "/api"), UNIX):
            headers = [(b"host", b"a:8000"), *said]
            assert judge(TRUST, peer, headers) == judge(Trust("10.0.0.0/8,unix"), peer, headers)


# What the socket knows.


@pytest.mark.parametrize(
    ("peername", "sockname", "client", "server", "name"),
    [
        (("192.0.2.1", 5), OWN, ("192.0.2.1", 5), OWN, "192.0.2.1:5"),
        (("::1", 5, 0, 0), ("::1", 80, 0, 0), ("::1", 5), ("::1", 80), "[::1]:5"),
        (
            ("::ffff:192.0.2.1", 5, 0, 0),
            ("::ffff:10.0.0.9", 80, 0, 0),
            ("192.0.2.1", 5),
            ("10.0.0.9", 80),
            "192.0.2.1:5",
        ),
        ("", "/run/app.sock", None, ("/run/app.sock", None), "-"),
        ("", "", None, None, "-"),
        ("", b"\0app", None, ("\0app", None), "-"),
        (None, OWN, None, OWN, "-"),
        (None, None, None, None, "-"),
    ],
)
def test_what_a_socket_says(peername: object, sockname: object, client: object, server: object, name: str) -> None:
    peer = direct(peername, sockname, "/api")
    assert peer == Peer(client, server, "http", "/api", b"/api", name)  # type: ignore[arg-type]


def test_a_client_without_a_port_is_shown_without_one() -> None:
    assert name_of(("192.0.2.1", 0)) == "192.0.2.1"
    assert name_of(("2001:db8::1", 0)) == "2001:db8::1"


# Who the client is.


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        # One address, in every form.
        (["203.0.113.7"], ("203.0.113.7", 0)),
        (["203.0.113.7:5678"], ("203.0.113.7", 5678)),
        (["  203.0.113.7\t"], ("203.0.113.7", 0)),
        (['"203.0.113.7:80"'], ("203.0.113.7", 80)),
        (["2001:DB8:0:0::7"], ("2001:db8::7", 0)),
        (["[2001:db8::7]"], ("2001:db8::7", 0)),
        (["[2001:db8::7]:443"], ("2001:db8::7", 443)),
        (['"[2001:db8::7]:443"'], ("2001:db8::7", 443)),
        (["fe80::7%eth0"], ("fe80::7", 0)),
        (["[fe80::7%25eth0]:1"], ("fe80::7", 1)),
        (["::ffff:203.0.113.7"], ("203.0.113.7", 0)),
        (["[::ffff:203.0.113.7]:9"], ("203.0.113.7", 9)),
        (["::ffff:cb00:7107"], ("203.0.113.7", 0)),
        # The right-most that is not trusted; what stands left of it may be invented.
        (["203.0.113.7, 10.0.0.2"], ("203.0.113.7", 0)),
        (["203.0.113.7, 10.0.0.3, 10.0.0.2"], ("203.0.113.7", 0)),
        (["1.1.1.1, 203.0.113.7"], ("203.0.113.7", 0)),
        (["1.1.1.1, 203.0.113.7, 10.0.0.2"], ("203.0.113.7", 0)),
        (["10.0.0.2, 203.0.113.7"], ("203.0.113.7", 0)),
        (["127.0.0.1, 203.0.113.7"], ("203.0.113.7", 0)),
        (["203.0.113.7, ::ffff:10.0.0.2"], ("203.0.113.7", 0)),
        (["203.0.113.7, 2001:db8:ffff::1"], ("203.0.113.7", 0)),
        # Everybody is trusted: the one farthest away.
        (["10.0.0.3, 10.0.0.2"], ("10.0.0.3", 0)),
        # Several lines are one list.
        (["1.1.1.1", "203.0.113.7"], ("203.0.113.7", 0)),
        (["203.0.113.7", "10.0.0.2"], ("203.0.113.7", 0)),
        (["203.0.113.7", "", "10.0.0.3", "10.0.0.2"], ("203.0.113.7", 0)),
        # Empty elements do not count.
        (["203.0.113.7,"], ("203.0.113.7", 0)),
        ([",, 203.0.113.7 , ,"], ("203.0.113.7", 0)),
        (['203.0.113.7, ""'], ("203.0.113.7", 0)),
        # What is no address ends the search: nobody knows who has said what stands left of it.
        (["203.0.113.7, unknown"], PROXY.client),
        (["203.0.113.7, unknown, 10.0.0.2"], ("10.0.0.2", 0)),
        (["203.0.113.7, 10.0.0.3, _hidden, 10.0.0.2"], ("10.0.0.2", 0)),
        (["unknown, 203.0.113.7"], ("203.0.113.7", 0)),
        # A hop over a unix socket, as nginx writes it.
        (["203.0.113.7, unix:"], ("203.0.113.7", 0)),
        (["203.0.113.7, unix:, 10.0.0.2"], ("203.0.113.7", 0)),
        # Nothing at all.
        ([], PROXY.client),
        ([""], PROXY.client),
        ([","], PROXY.client),
        ([" , \t, "], PROXY.client),
    ],
)
def test_who_the_client_is(lines: list[str], client: Client) -> None:
    assert client_of(*lines) == client


@pytest.mark.parametrize(
    "wrong",
    [
        *("unknown", "_x", "localhost", "example.org", "203.0.113", "203.0.113.256", "203.0.113.07", "203.0.113.7/32"),
        *("203.0.113.7:", "203.0.113.7:65536", "203.0.113.7:http", "203.0.113.7:-1", "203.0.113.7 10.0.0.1"),
        *(
            "[203.0.113.7]",
            "[2001:db8::7",
            "2001:db8::7]",
            "[2001:db8::7]443",
            "[]",
            "[]:1",
            "2001:db8:::7",
            ":",
            "%eth0",
        ),
        *(
            "٢٠٣.0.113.7",
            "1e1.0.0.1",
            "0x7f.0.0.1",
            "2130706433",
            "*",
            "10.0.0.0/8",
            "\\",
            "203.0.113.7\x00",
            "a" * 5000,
        ),
    ],
)
def test_what_is_no_address_is_never_a_client(wrong: str) -> None:
    value = wrong.encode("utf-8")
    for said in (value, b"203.0.113.1, " + value):
        assert judge(TRUST, PROXY, [(b"x-forwarded-for", said)])[0].client == PROXY.client


@pytest.mark.parametrize("everybody", ["*", "0.0.0.0/0", "0.0.0.0/0,::/0", "::ffff:0:0/96", "*,0.0.0.0/0"])
@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["1.1.1.1, 203.0.113.7"], ("203.0.113.7", 0)),
        (["1.1.1.1, 2001:db8::7"], ("2001:db8::7", 0)),
        (["203.0.113.7"], ("203.0.113.7", 0)),
        (["203.0.113.7, 10.0.0.2"], ("10.0.0.2", 0)),
        (["203.0.113.7, unknown"], PROXY.client),
    ],
)
def test_where_everybody_is_trusted_it_is_still_the_right_most(
    everybody: str, lines: list[str], client: Client
) -> None:
    assert client_of(*lines, trust=Trust(everybody)) == client


@pytest.mark.parametrize("everybody", ["*", "0.0.0.0/0"])
def test_everybody_beside_networks_trusts_the_peer_and_the_networks(everybody: str) -> None:
    trust = Trust(f"{everybody},10.0.0.0/8")
    assert client_of("1.1.1.1, 203.0.113.7, 10.0.0.2", trust=trust) == ("203.0.113.7", 0)


def test_behind_a_unix_socket_the_client_is_whom_the_proxy_names_or_nobody() -> None:
    assert client_of("203.0.113.7", peer=UNIX) == ("203.0.113.7", 0)
    assert client_of("203.0.113.7, unix:", peer=UNIX) == ("203.0.113.7", 0)
    assert client_of("203.0.113.7, unix:", peer=UNIX, trust=Trust("*")) is None
    assert client_of("unix:", peer=UNIX) is None
    assert client_of("unknown", peer=UNIX) is None
    assert client_of("1.1.1.1, unknown, unix:", peer=UNIX) is None
    assert client_of(peer=UNIX) is None


def test_no_more_proxies_in_a_row_are_believed_than_there_can_be() -> None:
    assert client_of(", ".join(["203.0.113.7", *["10.0.0.2"] * (HOPS - 1)])) == ("203.0.113.7", 0)
    assert client_of(", ".join(["203.0.113.7", *["10.0.0.2"] * HOPS])) == ("10.0.0.2", 0)
    assert client_of(*["203.0.113.7", *["10.0.0.2"] * HOPS]) == ("10.0.0.2", 0)
    assert client_of("203.0.113.7" + "," * 60000) == PROXY.client


ADDRESSES = st.one_of(st.ip_addresses().map(str), st.sampled_from(["10.0.0.2", "unknown", "", "unix:", "[::1]:80"]))


@given(st.lists(ADDRESSES), st.lists(st.ip_addresses(v=4, network="192.0.2.0/24").map(str), min_size=1, max_size=1))
def test_what_a_client_says_does_not_matter_behind_a_proxy_that_appends(invented: list[str], client: list[str]) -> None:
    assert client_of(", ".join([*invented, *client, "10.0.0.2"])) == (client[0], 0)


@given(st.text(alphabet='for=";,\\\\ 1.proto:_[]x', max_size=60), st.booleans())
def test_nothing_before_the_element_of_the_nearest_proxy_hides_it(invented: str, own_line: bool) -> None:
    trust = Trust("10.0.0.0/8", "forwarded")
    added = 'for="203.0.113.7:81";proto=https'
    lines = [invented, added] if own_line else [f"{invented}, {added}"]
    peer, _ = judge(trust, PROXY, [(b"forwarded", line.encode()) for line in lines])
    assert (peer.client, peer.scheme) == (("203.0.113.7", 81), "https")


def test_a_prefix_is_no_longer_than_any_is() -> None:
    assert judge(TRUST, PROXY, fields(prefix="/" + "a" * 1023))[0].root_path == "/" + "a" * 1023
    assert judge(TRUST, PROXY, fields(prefix="/" + "a" * 1024))[0].root_path == ""


@given(st.lists(st.binary(max_size=40)), st.sampled_from(["for", "proto", "host", "port", "prefix"]))
def test_whatever_a_proxy_says_something_is_made_of_it(values: list[bytes], what: str) -> None:
    headers = [(b"host", b"a"), *((f"x-forwarded-{what}".encode(), value) for value in values)]
    peer, kept = judge(TRUST, PROXY, headers)
    assert peer.scheme in ("http", "https")
    assert len(kept) == len(headers)


# Under what name it knows us.


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("https", "https"),
        ("http", "http"),
        ("HTTPS", "https"),
        (" https ", "https"),
        ("wss", "https"),
        ("ws", "http"),
        ("", "http"),
        ("ftp", "http"),
        ("https;", "http"),
        ("https://", "http"),
        ("on", "http"),
    ],
)
def test_the_scheme(said: str, scheme: str) -> None:
    assert judged(proto=said)[0].scheme == scheme


@pytest.mark.parametrize(
    ("chain", "said", "scheme"),
    [
        # Each proxy appends: the element that belongs to the entry of the client.
        ("203.0.113.7", "https,http", "http"),  # the first is the client's invention
        ("203.0.113.7, 10.0.0.2", "https,http", "https"),
        ("203.0.113.7, 10.0.0.2", "http, https", "http"),
        ("203.0.113.7, 10.0.0.3, 10.0.0.2", "https, http, http", "https"),
        ("1.1.1.1, 203.0.113.7, 10.0.0.2", "http, https, http", "https"),
        # Not each appends to this one: what there is counts.
        ("203.0.113.7, 10.0.0.2", "https", "https"),
        ("203.0.113.7, 10.0.0.3, 10.0.0.2", "https, http", "https"),
        ("", "https, http", "http"),
        ("unknown", "https, http", "http"),
    ],
)
def test_of_several_schemes_that_which_the_clients_own_proxy_has_seen_counts(
    chain: str, said: str, scheme: str
) -> None:
    assert judged(for_=chain, proto=said)[0].scheme == scheme
    assert judged(for_=chain, proto=said.split(","))[0].scheme == scheme


@pytest.mark.parametrize(
    ("host", "said", "field", "server"),
    [
        # X-Forwarded-Host takes the place of Host.
        (b"inner:8000", {"host": "example.org"}, b"example.org", ("example.org", 80)),
        (b"inner:8000", {"host": "example.org", "proto": "https"}, b"example.org", ("example.org", 443)),
        (b"inner:8000", {"host": "example.org:8443"}, b"example.org:8443", ("example.org", 8443)),
        (b"inner:8000", {"host": "example.org:443", "proto": "https"}, b"example.org", ("example.org", 443)),
        (b"inner:8000", {"host": "example.org:"}, b"example.org", ("example.org", 80)),
        (b"inner:8000", {"host": "[2001:db8::1]:81"}, b"[2001:db8::1]:81", ("2001:db8::1", 81)),
        (b"inner:8000", {"host": "[2001:db8::1]"}, b"[2001:db8::1]", ("2001:db8::1", 80)),
        (b"inner:8000", {"host": "evil.example, example.org"}, b"example.org", ("example.org", 80)),
        # A port for a host that names none.
        (b"example.org", {"port": "8443"}, b"example.org:8443", ("example.org", 8443)),
        (b"example.org", {"port": "443", "proto": "https"}, b"example.org", ("example.org", 443)),
        (b"example.org", {"port": "80"}, b"example.org", ("example.org", 80)),
        (b"example.org:8000", {"port": "8443"}, b"example.org:8443", ("example.org", 8443)),  # 8000 is our own
        (b"inner:8000", {"host": "example.org", "port": "8443"}, b"example.org:8443", ("example.org", 8443)),
        (b"[::1]", {"port": "8443"}, b"[::1]:8443", ("::1", 8443)),
        # The client's own word.
        (b"example.org:8443", {"port": "9000"}, b"example.org:8443", ("example.org", 8443)),
        (b"inner:8000", {"host": "example.org:8443", "port": "443"}, b"example.org:8443", ("example.org", 8443)),
        # The port of an inner proxy, without TLS.
        (b"example.org", {"port": "80", "proto": "https"}, b"example.org", OWN),
        (b"example.org", {"port": "443", "proto": "http"}, b"example.org", OWN),
        # What is none is not believed.
        *(
            (b"inner:8000", {"host": wrong}, b"inner:8000", OWN)
            for wrong in ("", "a b", "a/b", "a@b", "a:b", "[::1", "a:99999")
        ),
        *(
            (b"inner:8000", {"port": wrong}, b"inner:8000", OWN)
            for wrong in ("", "0", "65536", "x", "-1", "1.0", "123456")
        ),
        (b"", {"port": "8443"}, b"", ("10.0.0.9", 8443)),
    ],
)
def test_the_host(host: bytes, said: dict[str, str], field: bytes, server: tuple[str, int]) -> None:
    peer, value = judged(host, **said)
    assert (value, peer.server) == (field, server)


def test_a_request_of_http_1_0_gets_the_host_that_it_lacks_and_keeps_the_order_of_its_fields() -> None:
    said = [(b"a", b"1"), *fields(host="example.org"), (b"b", b"2")]
    assert judge(TRUST, PROXY, said)[1] == [*said, (b"host", b"example.org")]
    said = [(b"a", b"1"), (b"host", b"inner"), *fields(host="example.org")]
    assert judge(TRUST, PROXY, said)[1] == [said[0], (b"host", b"example.org"), said[2]]
    assert judge(TRUST, PROXY, fields(port="8443"))[1] == fields(port="8443")


@pytest.mark.parametrize(
    ("said", "root_path", "raw"),
    [
        ("/api", "/api", b"/api"),
        ("/api/", "/api", b"/api"),
        ("/a/b-c_d.e~f", "/a/b-c_d.e~f", b"/a/b-c_d.e~f"),
        ("/gr%C3%BC%C3%9Fe", "/grüße", b"/gr%C3%BC%C3%9Fe"),
        ("/", "", b""),
        *(
            (wrong, "/given", b"/given")
            for wrong in ("", "api", "//evil.example", "/a//b", "/%2Fevil.example", "/a/../b")
        ),
        *(
            (wrong, "/given", b"/given")
            for wrong in ("/..", "/%2e%2e/a", "/a b", "/a\\b", "/%5Cevil", "/a?b", "/%0d%0aA:b")
        ),
        *((wrong, "/given", b"/given") for wrong in ("http://evil.example", "/a#b", "/<a>")),
    ],
)
def test_the_prefix_takes_the_place_of_the_one_that_was_given(said: str, root_path: str, raw: bytes) -> None:
    peer, _ = judge(TRUST, direct(("10.0.0.1", 1), OWN, "/given"), fields(prefix=said))
    assert (peer.root_path, peer.raw_root_path) == (root_path, raw)


def test_connections_share_our_own_address_and_no_more_of_them_are_kept_than_there_are() -> None:
    first, second = (direct(("192.0.2.1", port), ("".join(["192.0.2", ".2"]), 8000)) for port in (1, 2))
    assert first.server is second.server
    for number in range(2000):
        assert direct(None, ("2001:db8::", number, 0, 0)).server == ("2001:db8::", number)
    assert len(peers._ours) <= peers._REMEMBERED


# Which fields the application gets.


def test_a_trusted_proxy_passes_on_no_other_spelling_of_what_it_says_itself() -> None:
    said = [*fields(for_="203.0.113.7"), (b"x_forwarded_for", b"1.1.1.1"), (b"x-forwarded_host", b"a"), (b"a_b", b"1")]
    assert judge(TRUST, PROXY, said)[1] == [said[0], said[3]]


def test_of_a_proxy_that_writes_only_some_fields_the_others_are_its_clients_word() -> None:
    trust = Trust("10.0.0.0/8", "for,proto")
    written = fields(for_="203.0.113.7", proto="https")
    invented = fields(host="evil.example", port="666", prefix="/evil")
    peer, headers = judge(trust, PROXY, [(b"host", b"a"), *written, *invented])
    assert headers == [(b"host", b"a"), *written]
    assert peer == replace(PROXY, client=("203.0.113.7", 0), scheme="https", name="203.0.113.7")
    assert judge(Trust("10.0.0.0/8", "proto"), PROXY, written)[0].client == PROXY.client


def test_the_fields_of_a_head_that_is_refused_are_told_as_far_as_they_can_be() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a b\r\nX-Forwarded-For: 203.0.113.7\r\nno colon\r\n\r\n"
    assert lenient_fields(head) == [(b"host", b"a b"), (b"x-forwarded-for", b"203.0.113.7")]
    assert lenient_fields(b"") == lenient_fields(b"GET / HTTP/1.1") == []


def test_half_a_line_of_a_head_names_nobody() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.77\r\n\r\n"
    whole = len(head) - 2
    for end in range(len(head) + 1):
        named = [value for name, value in lenient_fields(head[:end]) if name == b"x-forwarded-for"]
        assert named == ([b"203.0.113.77"] if end >= whole else [])
