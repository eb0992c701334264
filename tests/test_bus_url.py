"""The address of a Redis, as the option `bus` has it."""

from typing import Any

import pytest

from corehttp.bus import hubs
from corehttp.bus_url import BusURL, parse
from corehttp.config import Config
from corehttp.errors import ConfigError, StartupError
from corehttp.worker.machines import link


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("redis://cache", BusURL("cache", 6379, "", None, None, None), "redis://cache:6379"),
        ("redis://cache/0", BusURL("cache", 6379, "", None, None, None), "redis://cache:6379"),
        ("redis://:pw@10.0.0.1:7000/3", BusURL("10.0.0.1", 7000, "", None, "pw", None), "redis://10.0.0.1:7000"),
        ("redis://shop:p%40w@[::1]:1", BusURL("::1", 1, "", "shop", "p@w", None), "redis://[::1]:1"),
        ("rediss://cache", BusURL("cache", 6379, "", None, None, {}), "rediss://cache:6379"),
        (
            "rediss://cache?ssl_ca_certs=/etc/ca.pem&db=1",
            BusURL("cache", 6379, "", None, None, {"ssl_ca_certs": "/etc/ca.pem"}),
            "rediss://cache:6379",
        ),
        ("unix:///run/redis.sock", BusURL("", 6379, "/run/redis.sock", None, None, None), "unix:///run/redis.sock"),
        ("unix:///r%20r?password=pw&username=u", BusURL("", 6379, "/r r", "u", "pw", None), "unix:///r r"),
    ],
)
def test_addresses_that_are_understood_and_how_they_are_shown(text: str, url: BusURL, shown: str) -> None:
    assert parse(text) == url
    assert parse(text).shown == shown
    assert Config(bus=text).bus == text


@pytest.mark.parametrize(
    "text",
    [
        "cache:6379",
        "http://sesame@cache",
        "redis://",
        "redis://:sesame@",
        "redis://cache:0",
        "redis://cache:65536",
        "redis://cache:sesame",
        "redis://cache/sesame",
        "redis://cache/1/2",
        "redis://cache#sesame",
        "redis://cache?socket_timeout=1",
        "redis://cache?ssl_ca_certs=/etc/ca.pem",
        "redis://cache?db=",
        "redis://cache\nsesame",
        "redis://ca che",
        "redis://:%ff@cache",
        "redis://[::1",
        "unix://cache/run/redis.sock",
        "unix:///",
    ],
)
def test_an_address_that_is_not_understood_is_an_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^bus: what is given is not valid; it must be redis://") as caught:
        Config(bus=text)
    assert "sesame" not in str(caught.value)


def test_an_application_that_is_an_object_needs_a_name_for_its_channel() -> None:
    async def app(*arguments: Any) -> None: ...

    with pytest.raises(ConfigError, match=r"^bus needs name where the application is an object"):
        Config(app=app, bus="redis://cache")
    assert Config(app=app, bus="redis://cache", name="shop").name == "shop"
    assert Config(app="main:app", supervise=False, bus="redis://cache", name="shop").name == "shop"


async def test_two_servers_in_one_event_loop_cannot_both_have_a_link() -> None:
    hubs.hub().machines = link("redis://cache", "shop")
    with pytest.raises(StartupError, match="bus: another server in this event loop has it already"):
        link("redis://cache", "shop")


async def test_the_link_says_where_it_leads_without_a_secret() -> None:
    fleet = link("redis://shop:sesame@cache/0", "shop")
    assert fleet.where == "redis://cache:6379, channel corehttp:shop"
