"""The compared servers, and how each is started: its defaults, with uvloop and httptools where it offers them."""

import shutil
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from tempfile import gettempdir

from benchmarks.lib.applications import ROOT, Application
from benchmarks.lib.certificates import CERTIFICATE, KEY

LOG_SUFFIX = "+log"


@dataclass(frozen=True, slots=True)
class Launch:
    """What a server is to serve, and how."""

    application: Application
    port: int
    workers: int = 1
    access_log: bool = False
    keep_alive: int | None = None  # seconds; None for the server's default
    directory: str = field(default_factory=gettempdir)  # for files that the server makes


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that can be compared, with what it needs and the command that starts it."""

    name: str
    modules: tuple[str, ...]
    command: Callable[[Launch], list[str]]
    programs: tuple[str, ...] = ()
    applications: frozenset[str] | None = None  # names of those that it serves; None for any ASGI application
    has_access_log: bool = True

    def obstacle(self, application: Application, *, access_log: bool = False) -> str | None:
        """Return why this peer cannot serve `application` here, or None if it can."""
        if access_log and not self.has_access_log:
            return "it has no access log"
        for module in self.modules:
            if not _is_importable(module):
                return f"{module.partition('.')[0]} is not installed"
        for program in self.programs:
            if shutil.which(program) is None:
                return f"{program} is not on PATH"
        return None if self.serves(application) else f"it does not serve {application.name}"

    def serves(self, application: Application) -> bool:
        return self.applications is None or application.name in self.applications


def peer_of(name: str) -> Peer:
    """Return the peer called `name`, which may be a variant such as "uvicorn+log"."""
    return PEERS[name.removesuffix(LOG_SUFFIX)]


def peer_names(text: str) -> list[str]:
    """Split comma-separated names of peers or of their variants; raises ArgumentTypeError for an unknown one."""
    names = text.split(",")
    for name in names:
        if name.removesuffix(LOG_SUFFIX) not in PEERS:
            raise ArgumentTypeError(f"unknown server {name!r}; choose from {', '.join(PEERS)}")
    return list(dict.fromkeys(names))


def _corehttp(launch: Launch) -> list[str]:
    command = _python("corehttp", launch, "--workers", str(launch.workers))
    command += ["--host", "127.0.0.1", "--port", str(launch.port)]
    command += ["--access-log" if launch.access_log else "--no-access-log"]
    command += _certificate("--ssl-certfile", launch)
    return command + _keep_alive("--timeout-keep-alive", launch)


def _corehttp_uncounted(launch: Launch) -> list[str]:
    return [*_corehttp(launch), "--control", "off"]


def _uvicorn(launch: Launch) -> list[str]:
    command = _python("uvicorn", launch, "--workers", str(launch.workers), "--loop", "uvloop", "--http", "httptools")
    command += ["--host", "127.0.0.1", "--port", str(launch.port)]
    command += ["--access-log" if launch.access_log else "--no-access-log"]
    command += _certificate("--ssl-certfile", launch)
    return command + _keep_alive("--timeout-keep-alive", launch)


def _uvicorn_sansio(launch: Launch) -> list[str]:
    return [*_uvicorn(launch), "--ws", "websockets-sansio"]


def _uvicorn_wsproto(launch: Launch) -> list[str]:
    return [*_uvicorn(launch), "--ws", "wsproto"]


def _granian(launch: Launch) -> list[str]:
    command = _python("granian", launch, "--workers", str(launch.workers), "--interface", "asgi", "--loop", "uvloop")
    command += ["--host", "127.0.0.1", "--port", str(launch.port)]
    command += _certificate("--ssl-certificate", launch)
    return command + (["--access-log"] if launch.access_log else [])


def _hypercorn(launch: Launch) -> list[str]:
    command = _python("hypercorn", launch, "--workers", str(launch.workers), "-k", "uvloop")
    command += ["--bind", f"127.0.0.1:{launch.port}"]
    command += ["--access-logfile", "-"] if launch.access_log else []
    command += _certificate("--certfile", launch, "--keyfile")
    return command + _keep_alive("--keep-alive", launch)


def _gunicorn(launch: Launch) -> list[str]:
    command = _python("gunicorn", launch, "--workers", str(launch.workers), "-k", "asgi", "--asgi-loop", "uvloop")
    command += ["--bind", f"127.0.0.1:{launch.port}", "--no-control-socket"]
    command += ["--access-logfile", "-"] if launch.access_log else []
    return command + _keep_alive("--keep-alive", launch)


def _node(launch: Launch) -> list[str]:
    return ["node", str(ROOT / "benchmarks" / "lib" / "node_cluster.js"), str(launch.port), str(launch.workers)]


def _node_sync(launch: Launch) -> list[str]:
    return [*_node(launch), "sync"]


def _pm2(launch: Launch, *mode: str) -> list[str]:
    script = str(ROOT / "benchmarks" / "lib" / "node_cluster.js")
    # PM2 keeps its sockets in a directory of its own. It does not pass a script's arguments on as they are.
    own = [
        f"PM2_HOME={launch.directory}/pm2-{launch.port}",
        f"PEER={' '.join((str(launch.port), '0', *mode))}",
    ]
    return ["env", *own, "pm2-runtime", "start", script, "-i", str(launch.workers)]


def _pm2_sync(launch: Launch) -> list[str]:
    return _pm2(launch, "sync")


def _h2corn(launch: Launch) -> list[str]:
    command = _python("h2corn", launch, "--workers", str(launch.workers), "--loop", "uvloop")
    command += ["--bind", f"127.0.0.1:{launch.port}"]
    return command + (["--access-log"] if launch.access_log else ["--no-access-log"])


def _fastpysgi(launch: Launch) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.lib.fastpysgi_server", launch.application.target]
    return [*command, str(launch.port), str(launch.workers)]


def _floor(launch: Launch) -> list[str]:
    return [sys.executable, "-m", "benchmarks.lib.websocket_floor", str(launch.port)]


def _floor_timer(launch: Launch) -> list[str]:
    return [*_floor(launch), "timer"]


def _python(module: str, launch: Launch, *options: str) -> list[str]:
    return [sys.executable, "-m", module, launch.application.target, *options]


def _certificate(flag: str, launch: Launch, key_flag: str = "--ssl-keyfile") -> list[str]:
    """Return the flags of a server for its certificate and key; none where the application is served in cleartext."""
    if not launch.application.over_tls:
        return []
    return [flag, f"{launch.directory}/{CERTIFICATE}", key_flag, f"{launch.directory}/{KEY}"]


def _keep_alive(flag: str, launch: Launch) -> list[str]:
    return [] if launch.keep_alive is None else [flag, str(launch.keep_alive)]


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of a parent package
        return False


_UVICORN = ("uvicorn", "uvloop", "httptools")
_WEBSOCKET = frozenset({"websocket"})
# What node_cluster.js serves.
_NODE = frozenset({"hello", "read-content", "read-in-thread"})

PEERS = {
    peer.name: peer
    for peer in (
        Peer("corehttp", ("corehttp.__main__",), _corehttp),
        Peer("corehttp-uncounted", ("corehttp.__main__",), _corehttp_uncounted),
        Peer("uvicorn", _UVICORN, _uvicorn),
        Peer("uvicorn-sansio", (*_UVICORN, "websockets"), _uvicorn_sansio, applications=_WEBSOCKET),
        Peer("uvicorn-wsproto", (*_UVICORN, "wsproto"), _uvicorn_wsproto, applications=_WEBSOCKET),
        Peer("granian", ("granian", "uvloop"), _granian),
        Peer("hypercorn", ("hypercorn", "uvloop"), _hypercorn),
        Peer("gunicorn", ("gunicorn", "uvloop"), _gunicorn),
        Peer("h2corn", ("h2corn", "uvloop"), _h2corn),
        Peer("fastpysgi", ("fastpysgi",), _fastpysgi, has_access_log=False),
        Peer("pm2", (), _pm2, ("pm2-runtime",), _NODE, has_access_log=False),
        Peer("pm2-sync", (), _pm2_sync, ("pm2-runtime",), frozenset({"read-content"}), has_access_log=False),
        Peer("floor", ("uvloop",), _floor, applications=_WEBSOCKET, has_access_log=False),
        Peer("floor-timer", ("uvloop",), _floor_timer, applications=_WEBSOCKET, has_access_log=False),
        Peer("node", (), _node, ("node",), _NODE, has_access_log=False),
        Peer("node-sync", (), _node_sync, ("node",), frozenset({"read-content"}), has_access_log=False),
    )
}
