"""The values of --bind: what each means, and what is refused."""

import pytest

from corehttp.bind_option import (
    AbstractPlace,
    ActivatedPlace,
    InheritedPlace,
    Place,
    TCPPlace,
    UnixPlace,
    WorkerPlace,
    bind_address,
    parse_bind,
    proxy_protocols,
)
from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.sockets.endpoint import Endpoint, EndpointKind, address_options, endpoints


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("127.0.0.1:80", TCPPlace("127.0.0.1", 80)),
        ("localhost:0", TCPPlace("localhost", 0)),
        (":80", TCPPlace("", 80)),
        ("127.0.0.1:9000+{worker}", WorkerPlace("127.0.0.1", 9000)),
        ("[::]:9000+{worker},proxy-protocol=v1", WorkerPlace("::", 9000)),
        ("[::]:80", TCPPlace("::", 80)),
        ("[fe80::1%eth0]:80", TCPPlace("fe80::1%eth0", 80)),
        ("unix:/run/shop.sock", UnixPlace("/run/shop.sock")),
        ("unix:///run/shop.sock", UnixPlace("/run/shop.sock")),
        ("unix:shop.sock", UnixPlace("shop.sock")),
        ("unix:@shop", AbstractPlace("shop")),
        ("fd://3", InheritedPlace(3)),
        ("systemd:web", ActivatedPlace("web")),
        ("systemd:", ActivatedPlace("")),
    ],
)
def test_each_form_means_its_place(text: str, place: Place) -> None:
    assert parse_bind(text) == place


@pytest.mark.parametrize(
    ("text", "address", "place"),
    [
        ("127.0.0.1:80,proxy-protocol=v2", "127.0.0.1:80", TCPPlace("127.0.0.1", 80)),
        ("[::]:80,proxy-protocol=off", "[::]:80", TCPPlace("::", 80)),
        ("unix:/run/a,b.sock,proxy-protocol=auto", "unix:/run/a,b.sock", UnixPlace("/run/a,b.sock")),
        ("unix:/run/a,b=c/shop.sock", "unix:/run/a,b=c/shop.sock", UnixPlace("/run/a,b=c/shop.sock")),
        ("fd://3,proxy-protocol=v1", "fd://3", InheritedPlace(3)),
        ("systemd:,proxy-protocol=v1", "systemd:", ActivatedPlace("")),
    ],
)
def test_an_address_may_say_whether_its_connections_begin_with_a_proxy_header(
    text: str, address: str, place: Place
) -> None:
    assert parse_bind(text) == place
    assert bind_address(text) == address


def test_a_bind_that_says_nothing_of_proxy_headers_has_those_of_the_service() -> None:
    binds = (":80", ":81,proxy-protocol=off", ":82,proxy-protocol=v1", ":83,proxy-protocol=auto")
    assert versions(Config(bind=binds)) == [[], [], [1], [1, 2]]
    assert versions(Config(bind=binds, proxy_protocol="v2")) == [[2], [], [1], [1, 2]]
    assert versions(Config()) == [[]]
    assert versions(Config(uds="shop.sock", proxy_protocol="auto")) == [[1, 2]]


def test_a_bind_may_expect_headers_where_the_service_does_not() -> None:
    assert Config(bind=(":80,proxy-protocol=v1",), proxy_allow_from="*").proxy_allow_from == "*"


@pytest.mark.parametrize(
    "text",
    ["a:1,proxy-protocol=v3", "a:1,proxy-protocol=", "a:1,tls=on", "a:1,proxy-protocol=v1,proxy-protocol=v2", "a:1,"],
)
def test_what_else_stands_behind_an_address_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ConfigError, match=r"behind which may stand ,proxy-protocol= and off, v1, v2, auto \("):
        Config(bind=(text,))


@pytest.mark.parametrize(
    "text",
    ["", "80", "localhost", "::1:80", "[::1]", "a:65536", "a:-1", "a:b", "unix:", "unix:@", "fd://", "fd://x", "[]:80"],
)
def test_any_other_form_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^bind: .* is not valid; it must be HOST:PORT, :PORT, \[::\]:PORT, unix:"):
        Config(bind=(text,))


@pytest.mark.parametrize(
    "text",
    [
        *("{worker}", ":{worker}", "a:9000{worker}", "a:9000+{slot}", "a:9000+worker", "a:9000-{worker}"),
        *("a:+{worker}", "a{worker}:80", "a:0+{worker}", "a:65536+{worker}", "unix:/run/a-{worker}", "unix:@a{worker}"),
        *("fd://3+{worker}", "systemd:{worker}", "a:9000+{worker}+{worker}"),
    ],
)
def test_the_number_of_a_worker_can_be_added_to_a_port_alone(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^bind: .* is not valid; .*, systemd:NAME or HOST:PORT\+\{worker\}, behind"):
        Config(bind=(text,))


def test_ports_of_workers_must_be_there_for_as_many_as_there_can_be() -> None:
    assert endpoints(Config(bind=("a:64535+{worker}",)))[0].port == 64535
    with pytest.raises(ConfigError, match=r"^bind: a:64536\+\{worker\} would .* 65535, .* 1000 .* 64535 or below$"):
        Config(bind=("a:64536+{worker}",))


def test_the_same_ports_of_workers_are_given_once() -> None:
    assert len(endpoints(Config(bind=("a:9000+{worker}", "a:9000", "b:9000+{worker}", "unix:a", "unix:@a")))) == 5
    with pytest.raises(ConfigError, match=r"^bind: :9\+\{worker\} and \[::\]:9\+\{worker\} are the same; give it once"):
        Config(bind=(":9+{worker}", "[::]:9+{worker}"))


def test_the_environment_has_one_bind_in_each_line() -> None:
    config = Config.from_sources({}, {"COREHTTP_BIND": "127.0.0.1:80\nunix:shop.sock\n"}, {})
    assert config.bind == ("127.0.0.1:80", "unix:shop.sock")


def test_an_ipv6_wildcard_is_all_addresses_unless_ipv4_has_its_own_bind() -> None:
    assert _hosts("[::]:80") == [
        "",
    ]
    assert _hosts("[::]:80", "0.0.0.0:80") == ["::", "0.0.0.0"]
    assert _hosts("[::]:80", "0.0.0.0:81") == ["", "0.0.0.0"]
    assert _hosts("[::]:80+{worker}", "0.0.0.0:80") == ["", "0.0.0.0"]
    assert _hosts("[::]:80+{worker}", "0.0.0.0:80+{worker}") == ["::", "0.0.0.0"]


@pytest.mark.parametrize(
    ("bind", "redirecting"),
    [
        ("127.0.0.1:443", "192.0.2.1:443"),
        ("[::1]:443", "0.0.0.0:443"),
        ("[::]:443", "0.0.0.0:443"),
        ("127.0.0.1:0", ":0"),
        (":443", ":80"),
    ],
)
def test_what_redirects_may_be_beside_tls_where_they_share_no_address(bind: str, redirecting: str) -> None:
    config = Config(bind=(bind,), redirect_http=(redirecting,), ssl_certfile=("tls.crt",))
    assert [endpoint.redirects for endpoint in endpoints(config)] == [False, True]


def test_endpoints_are_those_of_the_binds_in_their_order() -> None:
    config = Config(
        bind=("127.0.0.1:80", "[::1]:90+{worker}", "unix:a", "unix:@b", "fd://3", "systemd:c"), uds_permissions="600"
    )
    assert endpoints(config) == (
        Endpoint(EndpointKind.TCP, host="127.0.0.1", port=80),
        Endpoint(EndpointKind.TCP, host="::1", port=90, is_each_workers=True),
        Endpoint(EndpointKind.UNIX, path="a", permissions="600"),
        Endpoint(EndpointKind.ABSTRACT, name="b"),
        Endpoint(EndpointKind.INHERITED, descriptor=3),
        Endpoint(EndpointKind.ACTIVATED, name="c"),
    )


def test_services_with_other_binds_share_no_sockets() -> None:
    assert address_options(Config(bind=(":80",))) != address_options(Config())
    assert address_options(Config(bind=(":80",))) == address_options(Config(bind=(":80",), workers="2"))
    assert address_options(Config(bind=(":80",))) == address_options(Config(bind=(":80,proxy-protocol=v1",)))


def versions(config: Config) -> list[list[int]]:
    return [sorted(expected) for expected in proxy_protocols(config.bind, config.proxy_protocol)]


def _hosts(*binds: str) -> list[str]:
    return [endpoint.host for endpoint in endpoints(Config(bind=binds))]
