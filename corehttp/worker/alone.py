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

from corehttp import farewell, unused_signals
from corehttp.config import Config
from corehttp.errors import ExitCode, InterruptedStart, StartupError
from corehttp.forks import protect
from corehttp.logs import flush
from corehttp.supervisor.leftovers import end_started, mark
from corehttp.version import __version__
from corehttp.worker import loop_faults, wiring
from corehttp.worker.exit_limit import hold_signals, limit_exit
from corehttp.worker.watchdog import watched
from corehttp.worker.worker import Worker

logger = logging.getLogger("corehttp.supervisor")

USED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


def serve_alone(config: Config, sockets: Sequence[socket.socket], urls: str, *, owns_process: bool) -> ExitCode:
    """Serve on `sockets` until a signal ends it; raises StartupError.

    `urls` is where clients find the service, as the log shows it. `owns_process`: the process ends with the service;
    else it goes on, and its signals are as they were. The sockets are closed in any case.
    """
    leftovers = Leftovers()
    if owns_process:
        os.environ.update(mark())
        atexit.register(unused_signals.ignore_all)
        atexit.register(leftovers.end)  # before all exit handlers of the application, so that it is called after them
    exit_seconds = wiring.worker_settings(config).shutdown.exit
    try:
        with contextlib.nullcontext() if owns_process else _everything_put_back():
            if owns_process:
                protect(list, signals=True)
                unused_signals.ignore(USED)
            return _Alone(config, sockets, urls, leftovers, owns_process=owns_process).run()
    except StartupError:
        if owns_process:
            limit_exit(exit_seconds, ExitCode.STARTUP, leftovers.end)
        raise
    except KeyboardInterrupt:  # during the start-up, or again during the stop
        if owns_process:
            limit_exit(exit_seconds, ExitCode.FORCED, leftovers.end)
        return ExitCode.FORCED
    finally:
        for sock in sockets:  # those that no worker has taken over
            sock.close()


class Leftovers:
    """What is to be done last in this process, whatever else runs at its end."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self.last_words: list[Callable[[], None]] = []  # said once all has ended

    def end(self) -> None:
        """End what the application has started and not ended, then say the last words, once and in this process only.

        A process that the application has forked calls this too, when its exit handlers run.
        """
        end_started(self._process)
        if os.getpid() == self._process:
            self.say()

    def say(self) -> None:
        """Say the last words that have not been said."""
        while self.last_words:
            self.last_words.pop()()


class _Alone:
    """A worker and the signals that stop it."""

    def __init__(
        self, config: Config, sockets: Sequence[socket.socket], urls: str, leftovers: Leftovers, *, owns_process: bool
    ) -> None:
        self._config = config
        self._settings = wiring.worker_settings(config)
        self._sockets = sockets
        self._urls = urls
        self._leftovers = leftovers
        self._owns_process = owns_process
        self._began = 0.0  # when it was told to stop (seconds, monotonic)

    def run(self) -> ExitCode:
        """Load the application and serve it to the end; raises StartupError, and KeyboardInterrupt if interrupted."""
        signal.signal(signal.SIGINT, _interrupt_start)
        make_loop = wiring.import_early(self._config)
        self._worker = Worker(wiring.load_application(self._config), self._config, self._sockets)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # for which asyncio.Runner cancels the start-up
        with asyncio.Runner(loop_factory=make_loop) as runner:
            try:
                code = runner.run(self._serve())
            except SystemExit as error:
                raise self._worker.failed_start(error) from error
        if not self._owns_process:
            self._leftovers.say()
        return code

    async def _serve(self) -> ExitCode:
        """Start the worker, wait for a signal, stop the worker; answers the exit code."""
        loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        loop.set_exception_handler(loop_faults.report)
        await self._worker.start()
        self._heed_signals(loop)
        # Only now, since whoever reads it may send a signal at once.
        pid = os.getpid()
        how = farewell.how_to_stop(pid)
        logger.info("corehttp %s, pid %d: ready without a supervisor: %s (%s)", __version__, pid, self._urls, how)
        with watched(loop, lambda now: None, self._settings.blocked_warn):
            try:
                await self._told.wait()
                code = await self._worker.stop()
            except asyncio.CancelledError:
                self._worker.abandon()
                raise
        self._leftovers.last_words.append(functools.partial(self._say_stopped, code))
        if self._owns_process:
            hold_signals(loop, USED, forced=(signal.SIGINT, signal.SIGQUIT))
            limit_exit(self._settings.shutdown.exit, code, self._leftovers.end)
        return code

    def _heed_signals(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop call `_on_signal` for the signals that stop the service."""
        for number in USED:
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # by nohup(1)
            loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        """Begin to stop; leave at once at SIGQUIT, and at a second SIGINT."""
        told = self._told.is_set()
        if number == signal.SIGQUIT or (told and number == signal.SIGINT):
            logger.warning("%s: leaving at once", "interrupted again" if told else number.name)
            if self._owns_process:
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
    """End the import of the application."""
    raise InterruptedStart


@contextlib.contextmanager
def _everything_put_back() -> Iterator[None]:
    """Take the signals for a while in a process that goes on; all of them come back as they were."""
    unprotect = protect(list, signals=True)
    unused = unused_signals.ignore(USED)
    with contextlib.ExitStack() as handlers:
        handlers.callback(unprotect)
        handlers.enter_context(signals_put_back(*USED))
        handlers.callback(unused_signals.restore, unused)
        yield


@contextlib.contextmanager
def signals_put_back(*numbers: signal.Signals) -> Iterator[None]:
    """Have the handlers of these signals and the wake-up descriptor back in the end, whatever an event loop does."""
    handlers = {number: signal.getsignal(number) for number in numbers}
    wakeup_fd = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup_fd)
        for number, handler in handlers.items():
            if handler is not None:  # None: set by a library in C
                signal.signal(number, handler)
