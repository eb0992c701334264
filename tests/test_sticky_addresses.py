"""Which endpoints the kernel chooses at by the addresses of clients, and whose addresses say nothing."""

from typing import Any

import pytest

from corehttp.config import Config
from corehttp.records import values
from corehttp.sticky_addresses import address_rule

SECRET = b"s" * 32
HERE = ((b"\x7f\0\0\1", 32), (bytes(15) + b"\1", 128))  # this machine, which is trusted by default
TWO = ("127.0.0.1:80", "[::1]:80")


def endpoints(numbers: tuple[int, ...] = (0,), **options: Any) -> set[int] | None:
    """The endpoints of a service with these options that the rule holds for; None if there is no rule."""
    rule = address_rule(values(Config(**options)), numbers, SECRET)
    return None if rule is None else set(rule.endpoints)


@pytest.mark.parametrize(
    ("sticky", "expected"),
    [
        *(((), None), (("ip",), {0}), (("ip", "cookie"), {0}), (("cookie", "ip"), None), (("header:x-key",), None)),
        *((("query:ip",), None), ((" IP ",), {0})),
    ],
)
def test_it_is_so_where_the_address_is_the_first_rule(sticky: tuple[str, ...], expected: set[int] | None) -> None:
    assert endpoints(sticky=sticky) == expected


@pytest.mark.parametrize(
    ("options", "numbers", "expected"),
    [
        ({"bind": TWO}, (3, 5), {3, 5}),
        ({"bind": TWO, "proxy_protocol": "v2"}, (0, 1), None),
        ({"bind": (TWO[0], f"{TWO[1]},proxy-protocol=v1")}, (0, 1), {0}),
        ({"bind": (f"{TWO[0]},proxy-protocol=auto", TWO[1])}, (4, 2), {2}),
        ({"bind": (f"{TWO[0]},proxy-protocol=off", TWO[1]), "proxy_protocol": "v2"}, (0, 1), {0}),
        ({"proxy_protocol": "v1"}, (0,), None),
        ({"bind": TWO, "limit_connections": 100}, (0, 1), None),
        ({"bind": TWO, "forwarded_allow_ips": "*"}, (0, 1), None),
        ({"bind": TWO, "forwarded_allow_ips": "10.0.0.0/8, *"}, (0, 1), None),
        ({"bind": TWO, "forwarded_allow_ips": "*", "proxy_headers": False}, (0, 1), {0, 1}),
    ],
)
def test_it_is_not_so_where_what_comes_later_tells_the_client(
    options: dict[str, Any], numbers: tuple[int, ...], expected: set[int] | None
) -> None:
    assert endpoints(numbers, sticky=("ip",), **options) == expected


def test_what_redirects_to_https_expects_the_headers_of_the_service(tmp_path: Any) -> None:
    options: dict[str, Any] = {"bind": (f"{TWO[0]},proxy-protocol=v1",), "redirect_http": ("127.0.0.1:81",)}
    for key in ("ssl_certfile", "ssl_keyfile"):
        options[key] = str(tmp_path / key)
    assert endpoints((0, 1), sticky=("ip",), **options) == {1}
    options["bind"] = (f"{TWO[0]},proxy-protocol=off",)
    assert endpoints((0, 1), sticky=("ip",), proxy_protocol="v2", **options) == {0}


@pytest.mark.parametrize(
    ("options", "trusted"),
    [
        ({}, HERE),
        ({"proxy_headers": False}, ()),
        ({"forwarded_allow_ips": ""}, ()),
        ({"forwarded_allow_ips": "unix"}, ()),
        ({"forwarded_allow_ips": "10.0.0.0/8, ::ffff:192.0.2.0/120,unix"}, ((b"\n\0\0\0", 8), (b"\xc0\0\2\0", 24))),
    ],
)
def test_the_addresses_of_trusted_proxies_do_not_decide(options: dict[str, Any], trusted: Any) -> None:
    rule = address_rule(values(Config(sticky=("ip",), **options)), (0,), SECRET)
    assert rule is not None
    assert (rule.secret, rule.trusted) == (SECRET, trusted)
