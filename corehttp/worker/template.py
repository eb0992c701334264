"""The process that loads the application once, for `--preload`, and forks workers that share its memory."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator

from corehttp.asgi import ASGIApp
from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import own
from corehttp.ipc.channel import Channel, ChildEnd
from corehttp.ipc.messages import Failed, Fork, Forked, NotForked, Ready
from corehttp.shortage import shortage
from corehttp.standard_streams import open_standard_streams
from corehttp.text import shown
from corehttp.tracebacks import formatted
from corehttp.worker import process, wiring
from corehttp.worker.exit_limit import limit_exit

logger = logging.getLogger("corehttp.error")


def main(channel_fd: int) -> int:
    """Load the application, then fork a worker whenever the supervisor wants one; returns the exit code."""
    open_standard_streams()
    channel = Channel.adopt(channel_fd)
    boot = process.begin(channel)
    if boot is None or not process.enter(channel, boot):
        return ExitCode.STARTUP
    config = Config(**boot.config)  # type: ignore[arg-type]
    wiring.start_log(config, "template")
    app = _load(channel, config)
    if app is None:
        return _end(config, ExitCode.STARTUP)
    # What is there now stays: were the collector to look at it, it would write to it, and each worker get a copy
    # (gc.freeze in the library reference).
    gc.collect()
    gc.freeze()
    channel.live_on()
    channel.send(Ready())
    while True:
        try:
            message = channel.wait_for_message()
        except (EOFError, OSError):
            return _end(config, ExitCode.CLEAN)
        assert isinstance(message, Fork), f"a template was told {message}"
        [fd] = channel.take_fds(1)
        if _fork(channel):
            os.close(fd)
            continue
        channel.close()
        return _be_a_worker(fd, app)


def _load(channel: ChildEnd, config: Config) -> ASGIApp | None:
    """The application; None if it cannot be loaded, and the supervisor knows why."""
    before = set(os.listdir("/proc/self/fd"))
    try:
        wiring.import_early(config)
        app = wiring.load_application(config)
        check(strict=wiring.worker_settings(config).preload_strict, before=before)
    except StartupError as error:
        channel.send(Failed(str(error), error.detail))
        return None
    except Exception as error:
        text = f"preload: the template has failed: {shown(error)}"
        channel.send(Failed(text, formatted(error, error.__traceback__)))
        return None
    return app


def _end(config: Config, code: ExitCode) -> ExitCode:
    """The exit code, with which this process ends even if threads of the application run on."""
    limit_exit(wiring.worker_settings(config).shutdown.exit, code)
    return code


def check(*, strict: bool, before: set[str]) -> None:
    """Warn of what a fork breaks in the workers; with `strict` raise StartupError instead.

    Threads do not exist in them, connections and event loops would be shared by all of them. `before`: the descriptors
    that were open before the application was loaded.
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
        # Not isinstance: it would ask the objects of the application for their __class__, and evaluate lazy ones.
        if issubclass(type(thing), asyncio.AbstractEventLoop) and not thing.is_closed():
            yield f"the event loop {thing!r}"


def _connections(before: set[str]) -> Iterator[str]:
    """Sockets that do not listen; those that do are safe to share (proc(5), /proc/self/fd)."""
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
    """Fork a worker that is the supervisor's child, not ours; answers whether this is still the template.

    A process in between forks and ends, so that the kernel gives the worker to the supervisor.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # they are the application's to replace, and to close
            stream.flush()
    try:
        reader, writer = os.pipe()
    except OSError as error:
        channel.send(NotForked(shortage(error)))
        return True
    try:
        with own():
            between = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        channel.send(NotForked(shortage(error)))
        return True
    if not between:
        return _fork_in_between(reader, writer)
    os.close(writer)
    # An application that ignores SIGCHLD, or waits for all children itself, leaves nothing to wait for (waitpid(2)).
    with contextlib.suppress(ChildProcessError):
        os.waitpid(between, 0)
    pid = os.read(reader, 16)
    os.close(reader)
    # Told only now, when it is the supervisor's child.
    if pid:
        channel.send(Forked(int(pid)))
    else:
        channel.send(NotForked(shortage(OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)))))
    return True


def _fork_in_between(reader: int, writer: int) -> bool:
    """Fork the worker, tell its pid, and end; returns False in the worker."""
    try:
        worker = os.fork()
    except OSError:
        os._exit(1)
    if worker:
        os.write(writer, str(worker).encode())
        os._exit(0)
    os.close(reader)
    os.close(writer)
    return False


def _be_a_worker(fd: int, app: ASGIApp) -> int:
    channel = Channel.adopt(fd)
    boot = process.begin(channel)
    return ExitCode.STARTUP if boot is None else process.run(channel, boot, app)
