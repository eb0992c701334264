"""A model of CPython on Windows: `python windows_host.py ARGUMENTS` runs the command in a standard library like that.

It takes away what the library reference marks as not available on Windows ("Availability: Unix"; for asyncio its page
"Platform Support") and typeshed as not there, and has these do what they do there:

- `sys.platform` is "win32" and `os.name` "nt"; uvloop, fcntl, resource and other modules of POSIX cannot be imported;
- `socket` has neither unix sockets nor flags for single calls, `select` has select() alone, which takes sockets alone,
  at most 512 of them; `signal` has seven signals, and signal() refuses any other;
- event loops know no signals; the usual one watches no sockets, and the other one waits by select();
- a signal does not interrupt the main thread: another thread takes it, and the handler runs when the main thread goes
  on, which is at once where there is a wake-up descriptor. SIGBREAK has the number that it has on Windows.

What the model does not show: the kernel, its sockets (what SO_EXCLUSIVEADDRUSE does, how a reset looks, numbers of
errors), files (paths, locks, a file that is open cannot be renamed), consoles, processes, the ProactorEventLoop's own
transports, and how other packages behave there. Modules that were imported before the names are taken away, those of
the standard library and the packages below among them, keep what they have found, as posixpath for os.path.
"""

import asyncio
import concurrent.futures.thread
import contextlib
import ctypes
import enum
import importlib
import logging.config
import os
import pathlib
import random
import re
import select
import selectors
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import threading
import types
from typing import Any

# They ask for the platform when they are imported, and would look for the API of Windows.
PRELOADED = ("click", "click.testing", "anyio", "anyio._backends._asyncio", "h11", "httptools", "websockets.speedups")
BLOCKED = ("_posixshmem", "fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty", "uvloop")
SIGNALS = {"SIGINT": 2, "SIGILL": 4, "SIGABRT": 6, "SIGFPE": 8, "SIGSEGV": 11, "SIGTERM": 15, "SIGBREAK": 21}
FEW = 512  # how many sockets select() takes (FD_SETSIZE of CPython on Windows)

# The names that each module does not have, as patterns that a whole name matches.
GONE: dict[Any, str] = {
    os: r"""
        (CLD|CLONE|EFD|GRND|MFD|NGROUPS|POSIX|PRIO|RTLD|RWF|SCHED|SPLICE|ST|TFD|XATTR)_.*|EX_(?!OK).*|F_T?U?LOCK|F_TEST
        O_(ACCMODE|A?SYNC|CLOEXEC|DIRECT|DIRECTORY|DSYNC|FSYNC|LARGEFILE|NDELAY|NOATIME|NOCTTY|NOFOLLOW|NONBLOCK|PATH)
        O_RSYNC|O_TMPFILE|P_ALL|P_PGID|P_PID|P_PIDFD|SEEK_DATA|SEEK_HOLE|W[A-Z]+|wait3?4?|waitid.*|copy_file_range
        (f|l)?chown|chroot|confstr.*|ctermid|environb|eventfd.*|fchdir|fdatasync|fork|forkpty|f?pathconf.*|f?statvfs
        fwalk|getenvb|getloadavg|getrandom|(get|set)(e|re|res)?(u|g)id|getgrouplist|(get|set|init)groups
        (get|set)(pgid|pgrp|priority|sid)|(get|set|list|remove)xattr|grantpt|killpg|lockf|login_tty|major|makedev|minor
        memfd_create|mkfifo|mknod|nice|openpty|pidfd_open|pipe2|posix_.*|preadv?|pwritev?|readv|writev|ptsname
        register_at_fork|sched_.*|sendfile|setns|spawn(lp|vp)e?|splice|sync|sysconf.*|tc.etpgrp|timerfd_.*|ttyname
        uname|unlockpt|unshare""",
    socket: r"""
        AF_(?!INET|UNSPEC|APPLETALK|DECnet|IPX|IRDA|LINK|SNA|BLUETOOTH|HYPERV|SYSTEM).*|(ALG|CAN|PACKET|NETLINK)_.*
        (TIPC|J1939|VM|VMADDR|ETH|PF|SCM|CMSG|UDPLITE)_.*|MSG_(CMSG_CLOEXEC|CONFIRM|DONTWAIT|EOR|FASTOPEN|MORE|NOSIGNAL)
        SOCK_(CLOEXEC|NONBLOCK)|SO_(BINDTO.*|DOMAIN|INCOMING_CPU|MARK|PASS.*|PEER.*|PRIORITY|PROTOCOL|REUSEPORT)
        TCP_(?!MAXSEG|NODELAY|KEEPCNT|KEEPIDLE|KEEPINTVL|FASTOPEN$).*|(recv|send)_fds|sethostname
        EAI_(ADDRFAMILY|OVERFLOW|SYSTEM)|(ETHERTYPE|IOCTL)_.*|IPPROTO_(GRE|IPIP|MPTCP|RSVP|TP|UDPLITE)|NI_IDN
        IPV6_(DSTOPTS|NEXTHOP|PATHMTU|RECV(DSTOPTS|HOPLIMIT|HOPOPTS|PATHMTU|PKTINFO)|RTHDRDSTOPTS|RTHDR_TYPE_0)
        IP_(BIND|DEFAULT|MAX|RECVO|RECVR|RET|TRANSP).*|SOL_(ALG|CAN|RDS|TIPC).*|SO_(J1939|VM)_.*""",
    signal: r"""
        ITIMER_.*|ItimerError|SIG[A-Z]+\d?|SIG_(BLOCK|SETMASK|UNBLOCK)|Sigmasks|alarm|[gs]etitimer|pause|pthread_.*
        pidfd_send_signal|siginterrupt|sigpending|sigtimedwait|sigwait(info)?|struct_siginfo""",
    select: r"E?POLL.*|epoll.*|poll|PIPE_BUF",
    importlib.import_module("mmap"): r"(MADV|MAP|PROT)_.*",
    importlib.import_module("faulthandler"): r"(un)?register",
    importlib.import_module("time"): r"CLOCK_.*|clock_.*|pthread_getcpuclockid|tzset",
}

_select, _signal, _Signals = select.select, signal.signal, signal.Signals
_mask, _block = signal.pthread_sigmask, signal.SIG_BLOCK


def become() -> None:
    """Make this process one on Windows, as far as the model goes; to be called in the main thread, once."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    signal_in_another_thread()
    for module, patterns in GONE.items():
        gone = re.compile("|".join(patterns.split()))
        for name in [name for name in vars(module) if gone.fullmatch(name)]:
            delattr(module, name)
    for name in BLOCKED:
        sys.modules[name] = None  # type: ignore[assignment]
    replace_signals()
    replace_sockets()
    replace_event_loops()
    vars(os).update(O_BINARY=0, O_NOINHERIT=0)
    vars(ctypes).update(CDLL=NoLibrary, WinDLL=Console)
    sys.modules["msvcrt"] = types.ModuleType("msvcrt")
    vars(sys.modules["msvcrt"])["get_osfhandle"] = int
    vars(pathlib)["WindowsPath"] = pathlib.PosixPath  # which Path is where os.name is "nt"
    os.name = "nt"
    sys.platform = "win32"


def signal_in_another_thread() -> None:
    """Have a thread take the signals of the process, so that none interrupts what the main thread waits for."""
    threading.Thread(target=threading.Event().wait, name="the model's signals", daemon=True).start()
    _mask(_block, set(_Signals) - {_Signals.SIGKILL, _Signals.SIGSTOP})


def replace_signals() -> None:
    signals: Any = enum.IntEnum("Signals", [*SIGNALS.items()])  # type: ignore[misc]
    for number in signals:
        setattr(signal, number.name, number)

    def set_handler(number: int, handler: Any) -> Any:
        if int(number) not in SIGNALS.values():
            raise ValueError("invalid signal value")
        return _signal(number, handler)

    vars(signal).update(Signals=signals, signal=set_handler, valid_signals=lambda: set(signals))


def select_sockets(read: Any, write: Any, fail: Any, timeout: float | None = None) -> Any:
    """Do what select.select() does on Windows."""
    for some in map(list, (read, write, fail)):
        if len(some) > FEW:
            raise ValueError("too many file descriptors in select()")
        for each in some:
            number = each if isinstance(each, int) else each.fileno()
            if number >= 0 and not stat.S_ISSOCK(os.fstat(number).st_mode):
                raise OSError(10038, "An operation was attempted on something that is not a socket")
    return _select(read, write, fail, timeout)


def socketpair(*arguments: object) -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets of TCP, as Windows has no other ones."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname())
        return listening.accept()[0], one


class NoLibrary(ctypes.CDLL):
    """Fails as for a library that is not there: Python's modules show none of OpenSSL's functions on Windows."""

    def __init__(self, *arguments: object) -> None:
        raise OSError("not on Windows")


class Console:
    """The library kernel32 as far as it sets up a console, which any terminal is one of here."""

    def __init__(self, name: str) -> None:
        assert name == "kernel32"

    def GetConsoleMode(self, handle: ctypes.c_void_p, mode: object) -> int:  # noqa: N802
        return int(os.isatty(handle.value or 0))

    def SetConsoleMode(self, handle: ctypes.c_void_p, mode: ctypes.c_uint32) -> int:  # noqa: N802
        return int(mode.value == 4)


def _missing(self: object) -> None:
    raise AttributeError("not on Windows")


def replace_sockets() -> None:
    select.select = select_sockets
    socket.socketpair = socketpair  # type: ignore[assignment]
    socket.SO_EXCLUSIVEADDRUSE = socket.SO_KEEPALIVE  # type: ignore[attr-defined]  # one that does no harm
    for name in ("sendmsg", "recvmsg", "recvmsg_into", "sendmsg_afalg"):
        setattr(socket.socket, name, property(_missing))
    vars(asyncio.selector_events)["_HAS_SENDMSG"] = False
    for name in ("EpollSelector", "PollSelector", "DevpollSelector"):
        if hasattr(selectors, name):
            delattr(selectors, name)
    selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[misc,assignment]
    selectors.SelectSelector._select = staticmethod(select_sockets)  # type: ignore[attr-defined]


def replace_event_loops() -> None:
    class SelectorEventLoop(asyncio.selector_events.BaseSelectorEventLoop):
        """What Windows has under this name: no signals, no processes, no pipes."""

    class ProactorEventLoop(asyncio.selector_events.BaseSelectorEventLoop):
        """What the usual loop of Windows does not do; its transports are those of the other one here."""

        def add_reader(self, *arguments: object) -> None:
            raise NotImplementedError

        add_writer = remove_reader = remove_writer = add_reader  # type: ignore[assignment]

    for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
        if hasattr(asyncio.unix_events, name):
            getattr(asyncio.unix_events, name)._loop_factory = ProactorEventLoop
    loops: dict[str, object] = {"SelectorEventLoop": SelectorEventLoop, "ProactorEventLoop": ProactorEventLoop}
    vars(asyncio).update(loops, EventLoop=ProactorEventLoop)


_LOADED = (concurrent.futures.thread, logging.config, random, ssl, subprocess, tempfile)

if __name__ == "__main__":
    del sys.path[0]  # this directory, whose modules are not to be taken for others
    become()
    if sys.argv[1:2] == ["-c"]:
        exec(sys.argv[2], {"__name__": "__main__"})
    else:
        import corehttp_server

        corehttp_server.main()
