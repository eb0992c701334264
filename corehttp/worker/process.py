"""A worker process: what the supervisor starts, with one end of a channel."""

import asyncio
import atexit
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, assert_never

# `wiring` needs these two for a worker with siblings alone; they are imported before the application is loaded.
import corehttp.worker.counting
import corehttp.worker.spreading  # noqa: F401
from corehttp import membership, unused_signals
from corehttp.asgi import ASGIApp
from corehttp.errors import ExitCode, StartupError
from corehttp.forks import protect
from corehttp.ipc import messages
from corehttp.ipc.channel import Channel, ChildEnd
from corehttp.ipc.mailbox import Mail, adopt
from corehttp.ipc.message_stream import GarbledError
from corehttp.ipc.messages import WORKER_PID, Boot, FromSupervisor, LeaveReason, Seat, StartFailed
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.shortage import shortage
from corehttp.sockets.endpoint import ListeningSocket
from corehttp.standard_streams import open_standard_streams
from corehttp.supervisor import deployment
from corehttp.text import shown
from corehttp.worker import loop_faults, stacks, wiring
from corehttp.worker.exit_limit import begin_exit, limit_exit
from corehttp.worker.mail_watch import MailWatch
from corehttp.worker.retirement import check_rss
from corehttp.worker.siblings import Siblings
from corehttp.worker.told_options import told
from corehttp.worker.watchdog import install_dump, watched
from corehttp.worker.worker import Worker

if TYPE_CHECKING:
    from corehttp.config import Config

logger = logging.getLogger("corehttp.error")

EXIT_INTERNAL_ERROR = 1  # the exit code after an error of the server itself; the interpreter has the same

_orphans: set[int] = set()  # the pid of this process, once its supervisor is gone


def main(channel_fd: int) -> int:
    """Serve in a process that was started for it, not forked from a template; return the exit code."""
    open_standard_streams()
    channel = Channel.adopt(channel_fd)
    boot = begin(channel)
    if boot is None or not enter(channel, boot):
        return ExitCode.STARTUP
    return run(channel, boot, None)


def begin(channel: ChildEnd) -> Boot | None:
    """Wait for the boot message, and have the kernel end this process if the supervisor ends; return the message.

    To be called first of all in a process of a supervisor. Returns None if the supervisor is gone already, or is of
    another version, which it is then told.
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
        channel.send(StartFailed(text, ""))
        return None
    # Exit handlers are called last in, first out: the channel is closed after all those that the application registers
    # later, so that while they run this process still ends with its supervisor.
    atexit.register(_end_leftovers)
    atexit.register(channel.close)
    protect(lambda: [channel.fileno()], signals=True)
    channel.die_with_other_end()
    return boot


def enter(channel: ChildEnd, boot: Boot) -> bool:
    """Take over what the application can see of the command: its import path, its arguments and its directory.

    Returns False, after telling the supervisor why, if that directory cannot be entered.
    """
    sys.path[:] = boot.path
    sys.argv[:] = boot.argv
    try:
        deployment.enter(boot.directory)
    except OSError as error:
        channel.send(StartFailed(f"the directory {boot.directory} cannot be entered: {error.strerror}", ""))
        return False
    return True


def heed_signals() -> None:
    """Let SIGTERM end this process, and no other signal that somebody might send it.

    What the terminal sends to the whole process group (Ctrl-C, Ctrl-Backslash, a hang-up) is for the supervisor.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A handler that does nothing, not SIG_IGN, which the programs that the application starts would inherit.
    silent = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
    for number in silent:
        signal.signal(number, lambda signum, frame: None)
    used = (signal.SIGTERM, *silent)
    unused_signals.ignore(used)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*used, *unused_signals.unused(used)])


def run(channel: ChildEnd, boot: Boot, app: ASGIApp | None) -> int:
    """Serve as the boot message says until told to leave, and return the exit code.

    `app` is the application, or None if it is still to be loaded. The descriptors that came with the message are those
    of the listening sockets, of the worker's inbox, of the scoreboard and of mailboxes, in this order.
    """
    config, seat = told(boot.config), boot.seat
    assert seat is not None, "a worker is told its seat"
    who = f"worker {seat.slot + 1}"
    wiring.start_log(config, who)
    install_dump()
    os.environ |= {"COREHTTP_WORKER_ID": str(seat.slot + 1), WORKER_PID: str(os.getpid())}
    settings = wiring.worker_settings(config)
    try:
        sockets, siblings = _take_seat(channel, seat, settings)
        mail = adopt(channel.take_fds(seat.mailboxes)) if seat.mailboxes else None
    except OSError as error:
        channel.send(StartFailed(f"the worker has no room for its sockets: {shortage(error)}", ""))
        return ExitCode.STARTUP
    membership.become(seat.slot + 1, seat.generation, seat.number, seat.node)
    serve = functools.partial(_load_and_serve, app, config, who, channel, sockets, siblings, mail)
    try:
        return _exit_code_of(serve, channel, settings)
    finally:
        siblings.close()
        if mail is not None:
            mail.close()
        for sock in sockets:  # closes those that no worker has taken over
            sock.close()


def _take_seat(
    channel: ChildEnd, seat: Seat, settings: wiring.WorkerSettings
) -> tuple[list[ListeningSocket], Siblings]:
    """Take over the descriptors that came with the boot message; return the listening sockets and the siblings.

    Raises OSError if the kernel had no room for them in this process.
    """
    *listening, inbox, board = channel.take_fds(len(seat.endpoints) + 2)
    sockets = [
        ListeningSocket(fileno=fd, endpoint=number) for fd, number in zip(listening, seat.endpoints, strict=True)
    ]
    for sock in sockets:
        sock.is_anothers = sock.endpoint in seat.anothers
        sock.position = seat.named.index(sock.endpoint) if sock.endpoint in seat.named else None
        sock.is_temporary = bool(seat.named) and sock.position is None
    stacks.install(board)
    siblings = Siblings(
        Scoreboard.adopt(board),
        seat.row,
        seat.slot,
        socket.socket(fileno=inbox),
        limit=settings.limit_connections,
        share_sockets=seat.shared,
    )
    return sockets, siblings


def _exit_code_of(serve: Callable[[], ExitCode], channel: ChildEnd, settings: wiring.WorkerSettings) -> int:
    """Call `serve` and return its exit code, or that of its failure, which the supervisor or the log is told.

    After a failure the exit of this process is limited, too. What is not an Exception is raised again.
    """
    code: int
    try:
        return serve()
    except StartupError as error:
        channel.send(StartFailed(str(error), error.detail))
        code = ExitCode.STARTUP
    except Exception as error:
        # A fault of the server. The interpreter would tell it to `sys.stderr`, which the application may have replaced.
        logger.critical("the worker has failed: %s", shown(error), exc_info=error)
        code = EXIT_INTERNAL_ERROR
    except BaseException:
        limit_exit(settings.shutdown.exit, EXIT_INTERNAL_ERROR)
        raise
    limit_exit(settings.shutdown.exit, code)
    return code


def _load_and_serve(
    app: ASGIApp | None,
    config: "Config",
    who: str,
    channel: ChildEnd,
    sockets: Sequence[socket.socket],
    siblings: Siblings,
    mail: Mail | None,
) -> ExitCode:
    """Load the application unless `app` is it, and serve it to the end; raises StartupError."""
    settings = wiring.worker_settings(config)
    make_loop = wiring.import_early(config)
    wiring.import_bus(config)
    if app is None:
        app = wiring.load_application(config)
    if settings.watches_memory:
        check_rss()
    on_retire = (lambda cause: channel.send(messages.Retire(cause))) if settings.retires else None
    worker = Worker(app, config, sockets, who, siblings, on_retire)
    with asyncio.Runner(loop_factory=make_loop) as runner:
        try:
            return runner.run(_serve(worker, channel, siblings, mail, settings))
        except (SystemExit, KeyboardInterrupt) as error:
            raise worker.failed_start(error) from error


async def _serve(
    worker: Worker, channel: ChildEnd, siblings: Siblings, mail: Mail | None, settings: wiring.WorkerSettings
) -> ExitCode:
    """Start the worker, obey the supervisor until the worker is to leave, and stop it; return the exit code."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_faults.report)
    instructions = Instructions(channel, worker, siblings, loop)
    membership.current.report_load = siblings.report_load
    mail_watch = None if mail is None else MailWatch(mail, loop)
    await worker.prepare()
    # Until here SIGTERM ends the process at once, as it should: nothing is in flight. From now on it means that only
    # this worker is to leave; the supervisor says what it wants over the channel.
    loop.add_signal_handler(signal.SIGTERM, instructions.leave, LeaveReason.REPLACED)
    channel.outlive_other_end(settings.shutdown.whole + 1)
    with watched(loop, worker.beat, settings.blocked_warn, wiring.RUNS):
        loop.add_reader(channel.fileno(), instructions.receive)
        channel.send(messages.Ready())
        why = await instructions.departure
        code = await worker.stop(
            why, functools.partial(channel.send, messages.Closed()), functools.partial(channel.send, messages.Drained())
        )
        if mail_watch is not None:
            mail_watch.close()
    begin_exit(loop, worker.times(why).exit, code, _end_leftovers, obeyed=[signal.SIGTERM])
    return code


class Instructions:
    """What the supervisor tells a worker that serves, over the channel; each message is obeyed as it is received."""

    def __init__(self, channel: ChildEnd, worker: Worker, siblings: Siblings, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._worker = worker
        self._siblings = siblings
        self._loop = loop
        self.departure: asyncio.Future[LeaveReason] = loop.create_future()  # done when the worker is to leave

    def receive(self) -> None:
        """Obey what has come over the channel; if the supervisor is gone, leave."""
        received, gone = self._channel.receive()
        for message in received:
            self._obey(message)
        if gone:
            logger.warning("the supervisor is gone: finishing what is in flight")
            self._loop.remove_reader(self._channel.fileno())
            _orphans.add(os.getpid())
            membership.current.depose()
            self.leave(LeaveReason.ORPHANED)

    def leave(self, why: LeaveReason) -> None:
        """Have the worker leave; the first reason counts."""
        if not self.departure.done():
            self.departure.set_result(why)

    def _obey(self, message: FromSupervisor) -> None:
        """Do what a message of the supervisor says."""
        match message:
            case messages.Serve():
                self._worker.accept()
            case messages.Leave(reason):
                self.leave(reason)
            case messages.Inboxes(slots):
                self._meet(slots)
            case messages.Reopen():
                self._channel.send(messages.Reopened(self._worker.reopen_logs()))
            case messages.Lead():
                membership.current.appoint()
            case messages.StepDown():
                membership.current.depose(functools.partial(self._loop.call_soon_threadsafe, self._say_stepped_down))
            case messages.Boot() | messages.Fork() | messages.Answer() | messages.WatchSince():
                raise AssertionError(f"a worker that serves was told {message}")
            case _:
                assert_never(message)

    def _say_stepped_down(self) -> None:
        self._channel.send(messages.SteppedDown())

    def _meet(self, slots: tuple[int, ...]) -> None:
        """Take over the descriptors of the inboxes of these slots, which came with the message."""
        try:
            self._siblings.meet(slots, self._channel.take_fds(len(slots)))
        except OSError as error:
            logger.error("the way to other workers is not known: %s", shortage(error))


def _end_leftovers() -> None:
    """End the processes that the application has started and not ended, if no supervisor is left to do it."""
    for pid in _orphans:
        from corehttp.supervisor.leftovers import end_started

        end_started(pid)
