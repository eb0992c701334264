"""Socket activation: the sockets that systemd has made and passes to the service that it starts (sd_listen_fds(3))."""

import contextlib
import os
from collections.abc import MutableMapping

from corehttp.errors import StartupError

FIRST = 3  # the number of the first descriptor that systemd passes (SD_LISTEN_FDS_START)
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_MOST = 4096  # descriptors that are believed to have been passed
_UNNAMED = "unknown"  # what systemd calls a socket without a name


def passed(env: MutableMapping[str, str], pid: int) -> list[tuple[str, int]]:
    """Return the name and the descriptor of each socket that systemd has passed to the process `pid`, in their order.

    Names repeat: a socket unit has one name for all its sockets, FileDescriptorName= or else the unit's own. The
    variables are removed, so that no child takes them for its own. Variables for another process, or that systemd would
    not set, are ignored.
    """
    count = env.get("LISTEN_FDS", "")
    if env.get("LISTEN_PID") != str(pid) or not (count.isascii() and count.isdigit()) or int(count) > _MOST:
        return []
    names = env.get("LISTEN_FDNAMES", "").split(":")
    for name in _VARIABLES:
        env.pop(name, None)
    names += [""] * (int(count) - len(names))
    return [(names[place] or _UNNAMED, FIRST + place) for place in range(int(count))]


class Activation:
    """The sockets that were passed to this process, which the binds of a service take by their names."""

    def __init__(self) -> None:
        self._sockets: list[tuple[str, int]] | None = None  # those that were passed; None until the first is wanted

    def descriptors(self, name: str) -> list[int]:
        """Return the descriptors of the sockets with this name, or of all if it is empty.

        Raises StartupError, which names it.
        """
        if self._sockets is None:
            self._sockets = passed(os.environ, os.getpid())
            for _, fd in self._sockets:
                with contextlib.suppress(OSError):  # it is not open: who takes it is told so
                    os.set_inheritable(fd, False)
        bind = f"bind systemd:{name}"
        if not self._sockets:
            raise StartupError(
                f"{bind}: systemd has passed no socket to this process (LISTEN_FDS, LISTEN_PID); start the service by "
                "its socket unit, or give an address"
            )
        taken = [fd for known, fd in self._sockets if name in ("", known)]
        if not taken:
            names = ", ".join(dict.fromkeys(known for known, _ in self._sockets))
            raise StartupError(
                f"{bind}: no socket has that name (FileDescriptorName= in the socket unit); those of systemd are "
                f"called {names}"
            )
        return taken
