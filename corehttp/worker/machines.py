"""Connect a worker to those of other machines. What that needs is imported here, where it is wanted."""

import importlib
from typing import TYPE_CHECKING

from corehttp.chance import chance, node_number
from corehttp.errors import StartupError

if TYPE_CHECKING:
    from corehttp.bus.fleet import Fleet


def import_redis() -> None:
    """Import what a link over Redis needs. Raises StartupError if the package redis is not installed."""
    try:
        importlib.import_module("corehttp.bus.redis_wire")
    except ImportError as error:
        raise StartupError(
            f"bus needs the package redis, which cannot be imported ({error}): pip install 'corehttp-server[redis]'"
        ) from error


def link(address: str, name: str) -> "Fleet":
    """Return the link over the Redis at `address` of the worker in the running loop, in the service called `name`.

    Raises StartupError if the package redis is not installed, or another server in this event loop has such a link.
    """
    import_redis()
    from corehttp import bus_url
    from corehttp.bus import hubs
    from corehttp.bus.fleet import Fleet
    from corehttp.bus.redis_wire import RedisWire

    url, channel, hub = bus_url.parse(address), f"corehttp:{name}", hubs.hub()
    if hub.machines is not None:
        raise StartupError("bus: another server in this event loop has it already")
    node = hub.membership.node or node_number(chance())
    return Fleet(hub, node, lambda: RedisWire(url, channel), f"{url.shown}, channel {channel}", chance)
