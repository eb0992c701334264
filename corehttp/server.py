"""The service of `corehttp.run()` and of the command: supervised workers, or one worker in this process."""

import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping

from corehttp import pid_file
from corehttp.asgi import ASGIApp, Unchecked
from corehttp.config import Config
from corehttp.errors import ConfigError, ExitCode, StartupError
from corehttp.garbage import uncollected
from corehttp.input_files import check_input_files
from corehttp.installation import check_installation
from corehttp.ipc.messages import WORKER_PID
from corehttp.log_paths import check_log_files, located
from corehttp.logs import set_up
from corehttp.privileges import Privileges, wanted_account
from corehttp.sockets import endpoint, listening, unix_path
from corehttp.standard_streams import open_standard_streams
from corehttp.supervisor.deployment import change_directory, start_directory
from corehttp.tls_options import tls_doubts

logger = logging.getLogger("corehttp.supervisor")


def run(app: str | ASGIApp, **options: Unchecked) -> None:
    """Serve `app` until SIGTERM or SIGINT, as the command does; `options` are those of `Config`.

    An import string is served by supervised workers, an object in this process. No configuration file is read, and of
    the environment only FORWARDED_ALLOW_IPS, where `forwarded_allow_ips` is not given. Raises ConfigError for a wrong
    option, StartupError outside the main thread or where an event loop runs, and SystemExit with an `ExitCode` if the
    service cannot start or does not end cleanly. What `user`, `group`, `umask` and `chdir` change in the process stays
    changed afterwards.
    """
    _check_caller()
    open_standard_streams()
    code = start(Config.of({**options, "app": app}, os.environ))
    if code is not ExitCode.CLEAN:
        raise SystemExit(code)


def _check_caller() -> None:
    """Raise StartupError where no signal could end `run`, or where it would block an event loop that is running."""
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
    remarks: Iterable[str] = (),
    *,
    owns_process: bool = False,
    sources: Callable[[], Mapping[str, str]] = dict,
    origin: str = "",
) -> ExitCode:
    """Serve as `config` says until the end, and return the exit code; a failed start is logged. Raises ConfigError.

    `read` reads the configuration afresh for a reload; it may raise ConfigError. `sources` tells operators where each
    option was given that `read`, or the caller, has found last. `doubts` are logged as warnings, `remarks` with
    the level debug. With `owns_process` the process ends with the service, as that of the command does; without, it
    goes on afterwards, and nothing else in it is changed or ended. `origin` is the directory in which the command was
    given, if that is not the current one.
    """
    if config.app is None:
        raise ConfigError("no application: name it as MODULE:ATTRIBUTE, as in main:app")
    if config.umask is not None:
        os.umask(int(config.umask, 8))
    if config.chdir is not None:
        origin = origin or start_directory()
        change_directory(config.chdir, origin)
    start_in = functools.cache(start_directory)  # for good, since a deployment may remove the directory itself
    config = located(config, start_in)
    read_located = (lambda: located(read(), start_in)) if read else (lambda: config)
    privileges = Privileges(wanted_account(config.user, config.group))
    with privileges.put_away():
        if privileges.account:
            from corehttp.user_access import check_service  # here, since few services need it

            check_service(config, privileges, start_in(), read_located)
        check_log_files(config)
        if config.env_file is not None or config.log_config is not None or config.ssl_certfile:
            check_input_files(config, start_in())
        _set_up_logs(config, doubts, remarks)
        return _serve(config, read_located, privileges, origin, owns_process=owns_process, sources=sources)


def _set_up_logs(config: Config, doubts: Iterable[str], remarks: Iterable[str]) -> None:
    """Have log lines go where the options say, and log `doubts` as warnings, and `remarks` with the level debug."""
    who = "supervisor" if config.supervised else "worker 1"
    set_up(config.log_level, config.log_format, who, config.log_file, config.use_colors)
    for doubt in (*doubts, *tls_doubts(config)):
        logger.warning("%s", doubt)
    for remark in remarks:
        logger.debug("%s", remark)


def _serve(
    config: Config,
    read: Callable[[], Config],
    privileges: Privileges,
    origin: str,
    *,
    owns_process: bool,
    sources: Callable[[], Mapping[str, str]],
) -> ExitCode:
    """Serve with the parameters of `start`, and return the exit code; a failed start is logged. Raises ConfigError."""
    try:
        if fault := check_installation():
            logger.warning(fault)
        if os.environ.get(WORKER_PID) == str(os.getpid()):
            raise StartupError("corehttp.run() was called by a worker: put it under `if __name__ == '__main__':`")
        if config.supervised:
            # Imported here: a worker in this process does without a supervisor's modules.
            with uncollected(owns_process=owns_process):
                from corehttp.supervision import supervise
                from corehttp.supervisor.signals import held_back

            with held_back(owns_process=owns_process):
                code = supervise(config, read, privileges, origin, owns_process=owns_process, sources=sources)
        else:
            code = _serve_here(config, privileges, owns_process)
    except StartupError as error:
        logger.error("%s%s", error, f"\n{error.detail.rstrip()}" if error.detail else "")
        code = ExitCode.STARTUP
    if code is ExitCode.STARTUP and config.log_file is not None:
        print(f"Error: the service could not start: {config.log_file} says why", file=sys.stderr)  # noqa: T201
    return code


def _serve_here(config: Config, privileges: Privileges, owns_process: bool) -> ExitCode:
    """Serve with one worker in this process, without a supervisor, and return the exit code; raises StartupError.

    The process gives up `privileges` as soon as its sockets are bound.
    """
    with uncollected(owns_process=owns_process):
        from corehttp.worker.alone import serve_alone

    served = endpoint.endpoints(config)
    [sockets] = listening.bind(served, 1, reuseport=False, privileged=privileges.taken)
    urls = ", ".join(listening.url(sock, served[sock.endpoint].scheme) for sock in sockets)
    try:
        privileges.drop()
        with pid_file.kept(config.pid):
            return serve_alone(config, sockets, urls, owns_process=owns_process)
    finally:
        for each in served:
            unix_path.forget(each.path)
