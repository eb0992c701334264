"""The options as a worker is told them by its supervisor, which has read and checked them. Pure."""

from typing import TYPE_CHECKING, cast

from corehttp.settled import Settled

if TYPE_CHECKING:
    from corehttp.config import Config


def told(options: dict[str, object]) -> "Config":
    """Return the options of a boot message, by their names, as `Config` has them.

    It is no `Config` that can be made anew with changes, but has all that one is read for. To do without the modules
    that read and check options takes a worker 3 ms less until it is ready, and 0.3 MB.
    """
    settled = Settled()
    vars(settled).update(options)
    return cast("Config", settled)
