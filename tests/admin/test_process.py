"""How the admin child serves, and what becomes of a failure in it."""

import asyncio
from typing import cast

import pytest

from corehttp.admin.application import AdminApplication
from corehttp.admin.process import _pass_failure, served
from corehttp.config import Config


def test_it_serves_as_the_service_does_but_within_narrow_limits_and_nothing_of_the_applications() -> None:
    app = cast(AdminApplication, object())
    config = Config(
        app="main:app",
        admin="localhost:0",
        loop="asyncio",
        http="h11",
        uds="run/a",
        preload=True,
        header=((b"x-a", b"1"),),
    )
    found = served(config, app)
    assert (found.app, found.loop, found.http, found.uds, found.preload, found.header) == (
        *(app, "asyncio", "h11", None, False, ()),
    )
    assert not found.supervised
    assert not found.proxy_headers, "whoever is believed may say that he is this machine"
    assert 0 < found.limit_connections <= 1024
    assert 0 < found.limit_request_body <= 65536
    assert (found.ws, found.lifespan, found.access_log) == ("off", "off", False)


async def fail() -> None:
    raise ValueError("a fault")


async def test_half_a_process_is_none_a_failure_beside_the_requests_ends_it() -> None:
    departure: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    _pass_failure(departure, task)
    with pytest.raises(ValueError, match="a fault"):
        await departure


async def test_what_was_cancelled_at_the_end_has_not_failed() -> None:
    departure: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await asyncio.wait([task])
    _pass_failure(departure, task)
    assert not departure.done()
