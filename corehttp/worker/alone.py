"""One worker in the process that was started, without a supervisor: its signals, its stop and its exit."""

import asyncio
import atexit
import contextlib
import functools
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from corehttp import farewell, pid_file, unused_signals
from corehttp.config import Config
from corehttp.errors import ExitCode, InterruptedStart, StartupError
from corehttp.forks import protect
from corehttp.log_paths import log_paths
from corehttp.logs import flush
from corehttp.supervisor.interpreters import mark
from corehttp.supervisor.leftovers import end_started
from corehttp.version import __version__
from corehttp.worker import loop_faults, wiring
from corehttp.worker.exit_limit import begin_exit, limit_exit
from corehttp.worker.on_windows import FORCING, REOPENING, STOPPING, heed, woken
from corehttp.worker.watchdog import watched
from corehttp.worker.worker import Worker

logger = logging.getLogger("corehttp.supervisor")


def serve_alone(config: Config, sockets: Sequence[socket.socket], urls: str, *, owns_process: bool) -> ExitCode:
    """Serve on `sockets` until a signal ends the service, and return the exit code; raises StartupError.

    `urls` says where clients find the service, for the log. With `owns_process` the process ends with the service;
    without, it goes on, and its signal handlers are put back. The sockets are closed in any case.
    """
    try:
        if owns_process:
            return _serve_and_limit_exit(config, sockets, urls)
        with _everything_put_back():
            return _Alone(config, sockets, urls, Leftovers(), owns_process=False).run()
    except KeyboardInterrupt:  # one SIGINT during the start-up, or a second one during the stop
        return ExitCode.FORCED
    finally:
        for sock in sockets:  # closes those that no worker has taken over
            sock.close()


def _serve_and_limit_exit(config: Config, sockets: Sequence[socket.socket], urls: str) -> ExitCode:
    """Serve in a process that ends with the service, and let that end take no longer than it may.

    Returns the exit code; raises StartupError, and KeyboardInterrupt as `_Alone.run` does.
    """
    leftovers = Leftovers()
    os.environ.update(mark())
    atexit.register(unused_signals.ignore_all)
    atexit.register(leftovers.end)  # exit handlers that are registered later, by the application, are called first
    protect(list, signals=True)
    unused_signals.ignore(STOPPING)
    exit_seconds = wiring.worker_settings(config).shutdown.exit
    try:
        return _Alone(config, sockets, urls, leftovers, owns_process=True).run()
    except StartupError:
        limit_exit(exit_seconds, ExitCode.STARTUP, leftovers.end)
        raise
    except KeyboardInterrupt:
        limit_exit(exit_seconds, ExitCode.FORCED, leftovers.end)
        raise


class Leftovers:
    """What is done last in this process, whatever else runs at its end."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self.last_words: list[Callable[[], None]] = []  # each logs something; called when everything has ended

    def end(self) -> None:
        """End the processes that the application has started and not ended, then say the last words once.

        The exit handlers of a process that the application has forked call this too; that process says no last words.
        """
        end_started(self._process)
        if os.getpid() == self._process:
            self.say()

    def say(self) -> None:
        """Say those last words that were not said yet."""
        while self.last_words:
            self.last_words.pop()()


class _Alone:
    """One worker in this process, and the signals that stop it."""

    def __init__(
        self, config: Config, sockets: Sequence[socket.socket], urls: str, leftovers: Leftovers, *, owns_process: bool
    ) -> None:
        self._config = config
        self._settings = wiring.worker_settings(config)
        self._sockets = sockets
        self._urls = urls
        self._leftovers = leftovers
        self._owns_process = owns_process
        self._began = 0.0  # when a signal began the stop (seconds, monotonic)

    def run(self) -> ExitCode:
        """Load the application, serve it to the end and return the exit code.

        Raises StartupError, and KeyboardInterrupt if Ctrl-C ends the start-up or forces the stop.
        """
        signal.signal(signal.SIGINT, _interrupt_start)
        make_loop = wiring.import_early(self._config)
        wiring.import_bus(self._config)
        self._worker = Worker(wiring.load_application(self._config), self._config, self._sockets)
        # With this handler in place, asyncio.Runner cancels the start-up at Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with asyncio.Runner(loop_factory=make_loop) as runner:
            try:
                code = runner.run(self._serve())
            except SystemExit as error:
                raise self._worker.failed_start(error) from error
        if not self._owns_process:
            self._leftovers.say()
        return code

    async def _serve(self) -> ExitCode:
        """Start the worker, wait for a signal, stop the worker, and return the exit code."""
        with woken(asyncio.get_running_loop()):
            return await self._start_and_stop()

    async def _start_and_stop(self) -> ExitCode:
        """Do what `_serve` does, in an event loop that signals wake up."""
        loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        loop.set_exception_handler(loop_faults.report)
        await self._worker.start()
        self._heed_signals(loop)
        # This line comes after the signals are heeded, since its readers may send one at once.
        pid = os.getpid()
        hints = farewell.what_next(pid)
        logger.info("corehttp %s, pid %d: ready without a supervisor: %s (%s)", __version__, pid, self._urls, hints)
        with watched(loop, lambda now: None, self._settings.blocked_warn, wiring.RUNS):
            try:
                await self._told.wait()
                code = await self._worker.stop()
            except asyncio.CancelledError:
                self._worker.abandon()
                raise
        self._leftovers.last_words.append(functools.partial(self._say_stopped, code))
        if self._owns_process:
            begin_exit(loop, self._settings.shutdown.exit, code, self._leftovers.end, obeyed=STOPPING, forced=FORCING)
        return code

    def _heed_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the `loop` call `_on_signal` for the signals that stop the service; SIGUSR1 opens log files anew."""
        for number in STOPPING:
            if number.name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup(1) has set that
            heed(loop, number, self._on_signal, number)
        if REOPENING is not None and log_paths(self._config) and unused_signals.is_free(REOPENING):
            heed(loop, REOPENING, self._reopen_logs)

    def _reopen_logs(self) -> None:
        """Open the log files anew, since somebody may have renamed them."""
        if fault := self._worker.reopen_logs():
            logger.error("SIGUSR1: %s", fault)
        else:
            logger.info("SIGUSR1: log files are open anew")

    def _on_signal(self, number: signal.Signals) -> None:
        """Begin to stop; leave at once at SIGQUIT, and at a second SIGINT."""
        told = self._told.is_set()
        if number in FORCING and (told or number != signal.SIGINT):
            logger.warning("%s: leaving at once", "interrupted again" if told else number.name)
            if self._owns_process:
                pid_file.remove(wiring.pid_path(self._config))
                flush()
                os._exit(ExitCode.FORCED)
            raise KeyboardInterrupt
        if not told:
            times = self._settings.shutdown
            self._began = time.monotonic()
            logger.info("%s", farewell.stopping(number.name, times.delay, times.graceful))
        self._told.set()

    def _say_stopped(self, code: ExitCode) -> None:
        """Log how long the stop took and what came of it."""
        worker = self._worker
        level = logging.WARNING if worker.cut else logging.INFO
        took = time.monotonic() - self._began
        logger.log(level, "%s", farewell.stopped(took, worker.answered, worker.cut, code))


def _interrupt_start(signum: int, frame: FrameType | None) -> None:
    """Handle SIGINT: end the import of the application by raising InterruptedStart."""
    raise InterruptedStart


@contextlib.contextmanager
def _everything_put_back() -> Iterator[None]:
    """Take over the signals of a process that goes on; all of them are put back when the context is left."""
    unprotect = protect(list, signals=True)
    unused = unused_signals.ignore(STOPPING)
    with contextlib.ExitStack() as handlers:
        handlers.callback(unprotect)
        changed = STOPPING if REOPENING is None else (*STOPPING, REOPENING)
        handlers.enter_context(signals_put_back(*changed))
        handlers.callback(unused_signals.restore, unused)
        yield


@contextlib.contextmanager
def signals_put_back(*numbers: signal.Signals) -> Iterator[None]:
    """Put back the handlers of these signals and the wake-up descriptor when the context is left.

    An event loop that runs meanwhile changes both.
    """
    handlers = {number: signal.getsignal(number) for number in numbers}
    wakeup_fd = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_fd)
        for number, handler in handlers.items():
            if handler is not None:  # None means that a library in C has set it
                signal.signal(number, handler)
