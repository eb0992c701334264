"""Who may do what over a control socket: the kernel says who has connected."""

import os
import socket
import struct
import sys
from enum import Enum

from corehttp.accounts import group_id
from corehttp.records import record

_PEERGROUPS = 59  # SO_PEERGROUPS (linux/asm-generic/socket.h), for which Python has no name
_LOCAL_PEERCRED, _LOCAL_PEERPID = 1, 2  # options of level 0 in sys/un.h of macOS, on which getpeereid(3) is built


class Access(Enum):
    """What a request does."""

    READ = "read"  # it shows something
    CHANGE = "change"  # it changes the service


@record
class Caller:
    """The process at the other end of a connection, as it was when it connected."""

    uid: int
    pid: int  # 0 where the kernel does not tell
    groups: frozenset[int]

    def __str__(self) -> str:
        return f"uid {self.uid}, pid {self.pid}" if self.pid else f"uid {self.uid}"


@record
class Rules:
    """Root and the service's own user may do everything; the members of a group what `group_access` lists."""

    uid: int  # the service's own
    group: int | None = None
    group_access: frozenset[Access] = frozenset()

    def allow(self, caller: Caller, access: Access) -> bool:
        """Whether the process may do that."""
        if caller.uid in (0, self.uid):
            return True
        return self.group in caller.groups and access in self.group_access


def rules(control_group: str) -> Rules:
    """Return the rules that `--control-group` asks for: GROUP, GROUP:read, or empty text for no group.

    Raises LookupError where there is no such group.
    """
    name, _, only = control_group.partition(":")
    if not name:
        return Rules(os.geteuid())
    return Rules(os.geteuid(), group_id(name), frozenset({Access.READ} if only else Access))


def caller_of(sock: socket.socket) -> Caller:
    """Return who is at the other end of a connected unix socket (unix(7), SO_PEERCRED). Raises OSError."""
    if sys.platform == "linux":
        pid, uid, gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return Caller(uid, pid, frozenset({gid, *_supplementary_groups(sock)}))
    # struct xucred of sys/ucred.h: a version, the uid, how many groups there are, and 16 groups.
    _, uid, count, *groups = struct.unpack("IIh2x16I", sock.getsockopt(0, _LOCAL_PEERCRED, 76))
    return Caller(uid, sock.getsockopt(0, _LOCAL_PEERPID), frozenset(groups[:count]))


def _supplementary_groups(sock: socket.socket) -> tuple[int, ...]:
    """The groups of the peer beside its first one; none where the kernel does not tell, or there are more than 256."""
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, 1024)  # as much as Python takes
    except OSError:
        return ()
    return struct.unpack(f"{len(data) // 4}I", data)
