"""The process that loads the application once, for `--preload`, and forks workers that share its memory."""

import asyncio
import contextlib
import errno
import gc
import io
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from corehttp.asgi import ASGIApp
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import own
from corehttp.ipc.channel import Channel, ChildEnd
from corehttp.ipc.messages import Fork, Forked, NotForked, Ready, Reopen, StartFailed
from corehttp.logs import reopen
from corehttp.shortage import shortage
from corehttp.standard_streams import open_standard_streams
from corehttp.text import shown
from corehttp.tracebacks import formatted
from corehttp.worker import process, wiring
from corehttp.worker.exit_limit import limit_exit
from corehttp.worker.told_options import told

if TYPE_CHECKING:
    from corehttp.config import Config

logger = logging.getLogger("corehttp.error")


def main(channel_fd: int) -> int:
    """Load the application, then fork a worker whenever the supervisor wants one; return the exit code.

    In each of those workers it returns, too: the worker's exit code.
    """
    open_standard_streams()
    channel = Channel.adopt(channel_fd)
    boot = process.begin(channel)
    if boot is None or not process.enter(channel, boot):
        return ExitCode.STARTUP
    config = told(boot.config)
    wiring.start_log(config, "template")
    app = _load(channel, config)
    if app is None:
        return _end(config, ExitCode.STARTUP)
    # Whatever exists now stays, so no worker's collector has to look at it: that would write to it, and give the worker
    # its own copy of the memory (gc.freeze in the library reference).
    gc.collect()
    gc.freeze()
    channel.live_on()
    channel.send(Ready())
    return _fork_workers(channel, config, app)


def _fork_workers(channel: ChildEnd, config: "Config", app: ASGIApp) -> int:
    """Fork workers until the supervisor is gone; return the exit code of this process, a template or a worker."""
    while True:
        try:
            message = channel.wait_for_message()
        except (EOFError, OSError):
            return _end(config, ExitCode.CLEAN)
        if isinstance(message, Reopen):
            reopen()
            continue
        assert isinstance(message, Fork), f"a template was told {message}"
        [fd] = channel.take_fds(1)
        if _fork(channel):
            channel.close()
            return _be_a_worker(fd, app)
        os.close(fd)


def _load(channel: ChildEnd, config: "Config") -> ASGIApp | None:
    """Load and return the application; None if that has failed, and the supervisor was told why."""
    before = set(os.listdir("/proc/self/fd"))
    try:
        wiring.import_early(config)
        wiring.import_bus(config)
        app = wiring.load_application(config)
        check(strict=wiring.worker_settings(config).preload_strict, before=before)
    except StartupError as error:
        channel.send(StartFailed(str(error), error.detail))
        return None
    except Exception as error:
        text = f"preload: the template has failed: {shown(error)}"
        channel.send(StartFailed(text, formatted(error, error.__traceback__)))
        return None
    return app


def _end(config: "Config", code: ExitCode) -> ExitCode:
    """Limit the exit of this process, in which threads of the application may run on; return `code`."""
    limit_exit(wiring.worker_settings(config).shutdown.exit, code)
    return code


def check(*, strict: bool, before: set[str]) -> None:
    """Warn of what a fork breaks in the workers; with `strict` raise StartupError instead.

    Threads would not exist in the workers; connections and event loops would be shared by all of them. `before` are the
    descriptors that were open before the application was loaded, as /proc/self/fd names them.
    """
    found = [*_threads(), *_event_loops(), *_connections(before)]
    if not found:
        return
    text = f"after the application was loaded there is {'; '.join(found)}: make it in the lifespan start-up instead"
    if strict:
        raise StartupError(f"preload: {text}")
    logger.warning("preload: %s, or the workers will not have it or will share it", text)


def _threads() -> Iterator[str]:
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            yield f"the thread {thread.name!r}"


def _event_loops() -> Iterator[str]:
    for thing in gc.get_objects():
        # isinstance would ask the objects of the application for their __class__, which evaluates lazy ones.
        if issubclass(type(thing), asyncio.AbstractEventLoop) and not thing.is_closed():
            yield f"the event loop {thing!r}"


def _connections(before: set[str]) -> Iterator[str]:
    """Yield the sockets that do not listen; those that do are safe to share (proc(5), /proc/self/fd)."""
    for name in sorted(set(os.listdir("/proc/self/fd")) - before, key=int):
        try:
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        with sock:
            if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield f"the socket {_name(sock)}"


def _name(sock: socket.socket) -> str:
    try:
        return f"connected to {sock.getpeername()!r}"
    except OSError:
        return f"of family {sock.family.name}"


def _fork(channel: ChildEnd) -> bool:
    """Fork a worker and tell the supervisor of it, or why there is none; return True in the worker, else False."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the application may have replaced or closed it
            stream.flush()
    try:
        worker = _fork_for_the_supervisor()
    except OSError as error:
        channel.send(NotForked(shortage(error)))
        return False
    if worker == 0:
        return True
    channel.send(Forked(worker))
    return False


def _fork_for_the_supervisor() -> int:
    """Fork a process that is the supervisor's child, not this one's; return its pid, and 0 in it. Raises OSError.

    A process in between forks it and ends, so that the kernel gives it to the supervisor. When this returns, it is the
    supervisor's child already.
    """
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "wb", buffering=0) as writer:
        with own():
            between = os.fork()
        if between == 0:
            _fork_and_end(writer)
            return 0
        writer.close()
        # Where the application ignores SIGCHLD, or waits for all children itself, nothing is left to wait for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(between, 0)
        pid = reader.read(16)
    if not pid:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return int(pid)


def _fork_and_end(writer: io.FileIO) -> None:
    """Fork the worker, write its pid and end this process; only in the worker this returns."""
    try:
        worker = os.fork()
    except OSError:
        os._exit(1)
    if worker:
        writer.write(str(worker).encode())
        os._exit(0)


def _be_a_worker(fd: int, app: ASGIApp) -> int:
    """Serve `app` in this process, a fork of the template; `fd` is its end of a channel. Returns the exit code."""
    channel = Channel.adopt(fd)
    boot = process.begin(channel)
    return ExitCode.STARTUP if boot is None else process.run(channel, boot, app)
