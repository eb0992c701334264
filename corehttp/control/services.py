"""The running services of a user: found by their sockets, chosen by name, process or path."""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from corehttp.control import socket_path
from corehttp.control.client import Reply, VerbError, VerbExit, ask
from corehttp.control.socket_path import SocketPathError, Spot
from corehttp.records import record

HELLO_SECONDS = 1.0  # seconds in which a service says who it is, so that one that is stuck does not hold up the others
_THREADS = 32  # how many services are asked at the same time


@record
class Selector:
    """Which service is meant; what is None says nothing. Without anything it is the only one that there is."""

    name: str | None = None
    pid: int | None = None
    socket: str | None = None


def find(env: Mapping[str, str], uid: int) -> tuple[list[str], list[str]]:
    """Return the paths of the sockets on which services of this user listen, and why directories are passed over.

    For root these are followed by those of services that have become another user's (--user).
    """
    paths, faults = _in_spots([(spot, uid) for spot in _spots(env, uid)])
    if uid == 0:
        others = _in_spots(_spots_of_others(env))
        paths += [path for path in others[0] if path not in paths]
        faults += others[1]
    return paths, faults


def _in_spots(spots: Iterable[tuple[Spot, int]]) -> tuple[list[str], list[str]]:
    """Return what `find` does, of these places, each with the user to whom it has to belong."""
    paths: dict[tuple[int, int], str] = {}
    faults: list[str] = []
    for spot, owner in spots:
        try:
            os.close(socket_path.check_directory(spot, owner))
            names = [spot.name] if spot.name else sorted(os.listdir(spot.directory))
        except (SocketPathError, OSError) as error:
            if os.path.lexists(spot.directory):
                faults.append(str(error))
            continue
        for name in names:
            path = os.path.join(spot.directory, name)
            with contextlib.suppress(OSError):
                if name.endswith(".sock") and socket_path.is_live(path):
                    found = os.stat(path)
                    paths.setdefault((found.st_dev, found.st_ino), path)
    return list(paths.values()), faults


def choose(selector: Selector, env: Mapping[str, str], uid: int) -> str:
    """Return the path of the one service that is meant. Raises VerbError if there is none, or more than one."""
    if selector.socket is not None:
        return selector.socket
    paths, faults = find(env, uid)
    if selector.name is None and selector.pid is None:
        own, _ = _in_spots([(spot, uid) for spot in _spots(env, uid)])
        paths = own or paths
        if len(paths) == 1:
            return paths[0]
    said = dict(zip(paths, of_each(paths, lambda path: _hello(path, HELLO_SECONDS)), strict=True))
    fitting = [path for path in paths if _fits(selector, said[path])]
    if not fitting:
        silent = [path for path in paths if "reason" in said[path]]
        said |= zip(silent, of_each(silent, lambda path: _hello(path, None)), strict=True)
        fitting = [path for path in paths if _fits(selector, said[path])]
    if len(fitting) == 1:
        return fitting[0]
    which = " ".join(
        f"{word} {value}" for word, value in (("named", selector.name), ("with pid", selector.pid)) if value is not None
    )
    if fitting:
        shown = "".join(f"\n  {_line(said[path], path)}" for path in fitting)
        raise VerbError(VerbExit.NO_SERVICE, f"there is more than one service; choose by --name or --pid:{shown}")
    others = "".join(f"\n  {_line(said[path], path)}" for path in paths)
    rest = f"; there are:{others}" if paths else "".join(f"; {fault}" for fault in faults)
    service = f"no service {which} of this user runs" if which else "no service of this user runs"
    raise VerbError(VerbExit.NO_SERVICE, f"{service}{rest}")


def of_each(paths: Sequence[str], tell: Callable[[str], Reply]) -> list[Reply]:
    """Return what `tell` returns for each path; all are asked at once, so that stuck ones are waited for together."""
    if len(paths) < 2:
        return [tell(path) for path in paths]
    from concurrent.futures import ThreadPoolExecutor  # here, since most commands ask one service

    with ThreadPoolExecutor(max_workers=min(len(paths), _THREADS)) as threads:
        return list(threads.map(tell, paths))


def service_name(path: str) -> tuple[str, int | None]:
    """Return the name of a service and its first supervisor's process, as far as its socket's path tells them."""
    name, _, pid = os.path.basename(path).removesuffix(".sock").rpartition("-")
    return name, int(pid) if pid.isdecimal() else None


def _spots(env: Mapping[str, str], uid: int) -> list[Spot]:
    """Where to look: where a service of this user puts its socket, if it has the same environment or one of a login."""
    own = socket_path.own_spots({"XDG_RUNTIME_DIR": f"/run/user/{uid}", **env}, uid, "")
    if runtime := env.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        return [Spot(runtime, "control.sock", private=False), *own]
    return own


def _spots_of_others(env: Mapping[str, str]) -> list[tuple[Spot, int]]:
    """Where the sockets are of services that were started by root and have become another user's, with the user."""
    temporary = socket_path.temporary_directory(env)
    found: list[tuple[Spot, int]] = []
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(temporary)):
            number = re.fullmatch("corehttp-([1-9][0-9]{0,9})", name)
            if number is not None:
                found.append((Spot(os.path.join(temporary, name), "", parent=temporary), int(number[1])))
    return found


def silence(path: str, error: VerbError) -> Reply:
    """Return what stands for the status of a service that does not answer: what the name of its file tells of it."""
    name, pid = service_name(path)
    return {"name": name or path, "pid": pid, "state": error.state, "reason": str(error), "socket": path}


def _hello(path: str, patience: float | None) -> Reply:
    """Ask a service who it is; one that does not answer is known by the name of its file only."""
    try:
        return ask(path, "hello", patience=patience)
    except VerbError as error:
        return silence(path, error)


def _fits(selector: Selector, said: Mapping[str, object]) -> bool:
    return selector.name in (None, said.get("name")) and selector.pid in (None, said.get("pid"))


def _line(said: Mapping[str, object], path: str) -> str:
    addresses = said.get("addresses")
    where = ", ".join(map(str, addresses)) if isinstance(addresses, list) else path
    state = f"{said.get('state')}: {said['reason']}" if "reason" in said else said.get("state")
    return f"{said.get('name')}  pid {said.get('pid')}  {state}  {where}"
