"""A worker process: what the supervisor starts, with one end of a channel."""

import asyncio
import atexit
import functools
import logging
import os
import signal
import socket
import sys
from typing import assert_never

from corehttp import unused_signals
from corehttp.asgi import ASGIApp
from corehttp.config import Config
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import protect
from corehttp.ipc import messages
from corehttp.ipc.channel import Channel, ChildEnd
from corehttp.ipc.messages import Boot, Failed, GarbledError, LeaveReason
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.shortage import shortage
from corehttp.standard_streams import open_standard_streams
from corehttp.supervisor import deployment
from corehttp.text import shown
from corehttp.worker import loop_faults, wiring
from corehttp.worker.exit_limit import hold_signals, limit_exit
from corehttp.worker.retirement import check_rss
from corehttp.worker.siblings import Siblings
from corehttp.worker.watchdog import install_dump, watched
from corehttp.worker.worker import Worker

logger = logging.getLogger("corehttp.error")

_orphans: set[int] = set()  # this process, once its supervisor is gone


def main(channel_fd: int) -> int:
    """A worker process that was started by itself; returns the exit code."""
    open_standard_streams()
    channel = Channel.adopt(channel_fd)
    boot = begin(channel)
    if boot is None or not enter(channel, boot):
        return ExitCode.STARTUP
    return run(channel, boot, None)


def begin(channel: ChildEnd) -> Boot | None:
    """The first thing a process of a supervisor does: it hears what to serve, and then ends if the supervisor does.

    None if the supervisor is gone already.
    """
    heed_signals()
    try:
        boot = channel.wait_for_message()
        if not isinstance(boot, Boot) or boot.version != messages.VERSION:
            raise GarbledError("another version")
    except (EOFError, OSError):
        return None
    except GarbledError:
        text = "the supervisor is of another version of corehttp than the one installed: restart it, or send it SIGUSR2"
        channel.send(Failed(text, ""))
        return None
    # Closed after all that the application registers later: while its exit handlers run, this process still heeds the
    # end of its supervisor.
    atexit.register(_end_leftovers)
    atexit.register(channel.close)
    protect(lambda: [channel.fileno()], signals=True)
    channel.die_with_other_end()
    return boot


def enter(channel: ChildEnd, boot: Boot) -> bool:
    """Take over what the application can see of the command: its import path, its arguments and its directory.

    False, and the supervisor knows why, if that directory cannot be entered.
    """
    sys.path[:] = boot.path
    sys.argv[:] = boot.argv
    try:
        deployment.enter(boot.directory)
    except OSError as error:
        channel.send(Failed(f"the directory {boot.directory} cannot be entered: {error.strerror}", ""))
        return False
    return True


def heed_signals() -> None:
    """Let SIGTERM end this process, and no other signal that somebody might send it.

    What the terminal sends to the whole group (Ctrl-C, Ctrl-Backslash, a hang-up) is for the supervisor.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Not SIG_IGN: that would be inherited by the programs that the application starts.
    silent = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    for number in silent:
        signal.signal(number, lambda signum, frame: None)
    used = (signal.SIGTERM, *silent)
    unused_signals.ignore(used)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*used, *unused_signals.unused(used)])


def run(channel: ChildEnd, boot: Boot, app: ASGIApp | None) -> int:
    """Serve as the boot message says until told to leave; returns the exit code.

    `app` is the application, unless it is still to be loaded. With the message come descriptors: those of the
    listening sockets, the worker's inbox, and the scoreboard.
    """
    config, seat = Config(**boot.config), boot.seat  # type: ignore[arg-type]
    assert seat is not None, "a worker is told its seat"
    who = f"worker {seat.slot + 1}"
    settings = wiring.worker_settings(config)
    wiring.start_log(config, who)
    install_dump()
    os.environ.update(COREHTTP_WORKER_ID=str(seat.slot + 1), COREHTTP_WORKER_PID=str(os.getpid()))
    try:
        *listening, inbox, board = channel.take_fds(seat.sockets + 2)
    except OSError as error:
        channel.send(Failed(f"the worker has no room for its sockets: {shortage(error)}", ""))
        return ExitCode.STARTUP
    sockets = [socket.socket(fileno=fd) for fd in listening]
    siblings = Siblings(
        Scoreboard.adopt(board),
        seat.row,
        seat.slot,
        socket.socket(fileno=inbox),
        limit=settings.limit_connections,
        share_sockets=seat.shared,
    )
    try:
        make_loop = wiring.import_early(config)
        if app is None:
            app = wiring.load_application(config)
        if settings.watches_memory:
            check_rss()
        on_retire = (lambda cause: channel.send(messages.Retire(cause))) if settings.retires else None
        worker = Worker(app, config, sockets, who, siblings, on_retire)
        with asyncio.Runner(loop_factory=make_loop) as runner:
            try:
                return runner.run(_serve(worker, channel, siblings, settings))
            except (SystemExit, KeyboardInterrupt) as error:
                raise worker.failed_start(error) from error
    except StartupError as error:
        channel.send(Failed(str(error), error.detail))
        limit_exit(settings.shutdown.exit, ExitCode.STARTUP)
        return ExitCode.STARTUP
    except Exception as error:  # a fault of the server; the interpreter would tell it to whatever sys.stderr is by now
        logger.critical("the worker has failed: %s", shown(error), exc_info=error)
        limit_exit(settings.shutdown.exit, 1)
        return 1
    except BaseException:
        limit_exit(settings.shutdown.exit, 1)
        raise
    finally:
        siblings.close()
        for sock in sockets:  # those that no worker has taken over
            sock.close()


async def _serve(worker: Worker, channel: ChildEnd, siblings: Siblings, settings: wiring.WorkerSettings) -> ExitCode:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_faults.report)
    departure: asyncio.Future[LeaveReason] = loop.create_future()

    def leave(why: LeaveReason) -> None:
        if not departure.done():
            departure.set_result(why)

    def on_channel() -> None:
        received, gone = channel.receive()
        for message in received:
            match message:
                case messages.Serve():
                    worker.accept()
                case messages.Leave(reason):
                    leave(reason)
                case messages.Inboxes(slots):
                    try:
                        siblings.meet(slots, channel.take_fds(len(slots)))
                    except OSError as error:
                        logger.error("the way to other workers is not known: %s", shortage(error))
                case messages.Boot() | messages.Fork():
                    raise AssertionError(f"a worker that serves was told {message}")
                case _:
                    assert_never(message)
        if gone:
            logger.warning("the supervisor is gone: finishing what is in flight")
            loop.remove_reader(channel.fileno())
            _orphans.add(os.getpid())
            leave(LeaveReason.ORPHANED)

    await worker.prepare()
    # Until here SIGTERM ends the process at once, as it should: nothing is in flight. From now on it means that only
    # this worker is to leave: the supervisor has another way to say what it wants.
    loop.add_signal_handler(signal.SIGTERM, leave, LeaveReason.REPLACED)
    channel.outlive_other_end(settings.shutdown.whole + 1)
    with watched(loop, siblings.beat, settings.blocked_warn):
        loop.add_reader(channel.fileno(), on_channel)
        channel.send(messages.Ready())
        why = await departure
        code = await worker.stop(
            why, functools.partial(channel.send, messages.Closed()), functools.partial(channel.send, messages.Drained())
        )
    hold_signals(loop, [signal.SIGTERM])
    limit_exit(settings.shutdown.exit, code, _end_leftovers)
    return code


def _end_leftovers() -> None:
    """End what the application has started and not ended, if no supervisor will."""
    for pid in _orphans:
        from corehttp.supervisor.leftovers import end_started

        end_started(pid)
