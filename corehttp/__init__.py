"""corehttp: an ASGI server that uses every core and never drops a request."""

from corehttp.version import __version__

# This module imports nothing, not even `typing`: with `python -m corehttp` the current directory is still first in the
# import path (see __main__.py), and a file of the application there may have the name of any module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from corehttp.config import Config
    from corehttp.embed import Server, run_in_thread, serve
    from corehttp.errors import ConfigError, CorehttpError, ExitCode, StartupError
    from corehttp.server import run

__all__ = [
    "Config",
    "ConfigError",
    "CorehttpError",
    "ExitCode",
    "Server",
    "StartupError",
    "__version__",
    "run",
    "run_in_thread",
    "serve",
]

_HOMES = {
    "Config": "config",
    "ConfigError": "errors",
    "CorehttpError": "errors",
    "ExitCode": "errors",
    "Server": "embed",
    "StartupError": "errors",
    "run": "server",
    "run_in_thread": "embed",
    "serve": "embed",
}


def __getattr__(name: str) -> object:
    # Names are imported on demand: a worker imports this package too, and must not hold what only others need.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
