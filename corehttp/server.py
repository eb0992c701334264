"""Composition root: a configuration becomes one worker in this process, or a supervisor with its workers."""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable

from corehttp.asgi import ASGIApp, Unchecked
from corehttp.config import Config
from corehttp.cpus import available_cpus, count_workers, cpu_quota
from corehttp.errors import ConfigError, ExitCode, StartupError
from corehttp.installation import check_installation
from corehttp.logs import set_up
from corehttp.shortage import shortage
from corehttp.sockets import endpoint, listening, unix_path
from corehttp.standard_streams import open_standard_streams
from corehttp.version import __version__

logger = logging.getLogger("corehttp.supervisor")

WORKER_PID = "COREHTTP_WORKER_PID"  # in the environment of a worker: its process


def run(app: str | ASGIApp, **options: Unchecked) -> None:
    """Serve `app` until SIGTERM or SIGINT, as the command does; `options` are those of `Config`.

    An import string is served by supervised workers, an object in this process. Raises ConfigError for a wrong
    option, StartupError outside the main thread or where an event loop runs, and SystemExit with an `ExitCode` if the
    service cannot start or does not end cleanly.
    """
    _check_caller()
    open_standard_streams()
    code = start(Config.of({**options, "app": app}))
    if code is not ExitCode.CLEAN:
        raise SystemExit(code)


def _check_caller() -> None:
    """Raise StartupError where nothing would end what `run` serves, or where it would stop somebody's event loop."""
    if threading.current_thread() is not threading.main_thread():
        raise StartupError(
            "corehttp.run() serves until a signal comes, and only the main thread gets signals: in another thread use "
            "`with corehttp.run_in_thread(app):`, or `async with corehttp.serve(app):` in an event loop there"
        )
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise StartupError(
            "corehttp.run() would block the event loop that is running: use `async with corehttp.serve(app):` in it, "
            "or `with corehttp.run_in_thread(app):` elsewhere"
        )


def start(
    config: Config,
    read: Callable[[], Config] | None = None,
    doubts: Iterable[str] = (),
    *,
    owns_process: bool = False,
) -> ExitCode:
    """Serve as `config` says until the end; a start-up failure is logged. Raises ConfigError.

    `read` reads the configuration afresh for a reload; it may raise ConfigError. `doubts` are logged as warnings.
    `owns_process`: the process ends with the service, as that of the command does; else it goes on, and nothing in it
    is changed or ended.
    """
    if config.app is None:
        raise ConfigError("no application: name it as MODULE:ATTRIBUTE, as in main:app")
    set_up(config.log_level, config.log_format, "supervisor" if config.supervised else "worker 1")
    for doubt in doubts:
        logger.warning("%s", doubt)
    try:
        if fault := check_installation():
            logger.warning(fault)
        if os.environ.get(WORKER_PID) == str(os.getpid()):
            raise StartupError("corehttp.run() was called by a worker: put it under `if __name__ == '__main__':`")
        if config.supervised:
            return _supervise(config, read or (lambda: config), owns_process)
        return _serve_here(config, owns_process)
    except StartupError as error:
        logger.error("%s%s", error, f"\n{error.detail.rstrip()}" if error.detail else "")
        return ExitCode.STARTUP


def uses_reuseport(config: Config, workers: int) -> bool:
    """Whether each worker gets a socket of its own on the port.

    Not by itself where connections are limited: only who shares a socket can take over those that wait for another.
    """
    if config.socket != "auto":
        return config.socket == "reuseport" and workers > 1
    one_address = config.uds is not None or config.fd is not None
    return workers > 1 and sys.platform == "linux" and not one_address and not config.limit_connections


def _supervise(config: Config, read: Callable[[], Config], owns_process: bool) -> ExitCode:
    from corehttp.supervisor import upgrade
    from corehttp.supervisor.deployment import Deployment
    from corehttp.supervisor.fleet import Fleet
    from corehttp.supervisor.generations import Generations
    from corehttp.supervisor.loop import Supervisor
    from corehttp.supervisor.operating_system import OperatingSystem
    from corehttp.supervisor.slots import Slots

    if config.preload and sys.platform != "linux":
        raise ConfigError("preload needs Linux, where the supervisor can be the parent of what a template forks")
    deployment = Deployment()
    generations = Generations(config, read, deployment)
    count, reason = count_workers(config.workers, available_cpus(), cpu_quota())
    address = (config.host, config.port, config.uds, config.fd, config.socket)
    endpoints = endpoint.endpoints(config)
    inherited = upgrade.inherited(address)
    lent = inherited is not None and bool(inherited.slots)
    if inherited is not None and lent:
        slots = Slots.adopt(inherited, endpoints)
        slots.share(True)
        for number in range(len(slots), count):
            slots.open(number)
    else:
        bound = listening.bind(endpoints, count, reuseport=uses_reuseport(config, count))
        slots = Slots.of(bound, endpoints, parting=uses_reuseport(config, max(count, 2)))
    sharing = "one shared socket" if slots.shared or count == 1 else "a socket each (SO_REUSEPORT)"
    logger.info(
        "corehttp %s, pid %d: starting %d worker%s (%s) on %s",
        *(__version__, os.getpid(), count, "" if count == 1 else "s", reason, sharing),
    )
    # With more sockets than workers, none may be let go of before there is somebody who serves what waits there.
    fleet = Fleet(max(count, len(slots)), preload=config.preload, handed_on=lent)
    generations.apply(fleet, fleet.generation)

    def on_ready() -> None:
        for unix in (one for one in endpoints if lent and one.path):
            try:
                unix_path.permit(unix.path, unix.permissions)
            except StartupError as error:  # somebody has removed it: those who are connected are served all the same
                logger.warning("%s", error)
        if inherited is not None:
            upgrade.say_ready(inherited.ready, taken_over=lent)
            supervisor.take_over(count)

    try:
        upgrading = upgrade.Upgrade(address, deployment)
        world = OperatingSystem(slots, owns_process=owns_process)
        supervisor = Supervisor(fleet, world, generations, upgrading, on_ready)
    except OSError as error:
        raise StartupError(f"the supervisor cannot start: {shortage(error)}") from error
    return supervisor.run()


def _serve_here(config: Config, owns_process: bool) -> ExitCode:
    """Serve with one worker in this process, without a supervisor."""
    from corehttp.worker.alone import serve_alone

    [sockets] = listening.bind(endpoint.endpoints(config), 1, reuseport=False)
    urls = ", ".join(listening.url(sock) for sock in sockets)
    try:
        return serve_alone(config, sockets, urls, owns_process=owns_process)
    finally:
        if config.uds is not None:
            unix_path.forget(config.uds)
