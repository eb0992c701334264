"""The process of the admin child: what the supervisor starts for `--admin`, with one end of a channel.

The application is not imported here, and its directory is not in the import path. What serves is a worker like any
other, of an application of ours, with narrow limits.
"""

import asyncio
import functools
import logging
import os
import signal
from collections.abc import Sequence

from corehttp import metrics_directory
from corehttp.admin.application import AdminApplication
from corehttp.admin.supervisor_link import SupervisorLink
from corehttp.config import Config
from corehttp.errors import ExitCode
from corehttp.ipc import messages
from corehttp.ipc.channel import Channel, ChildEnd
from corehttp.ipc.messages import Boot, LeaveReason, StartFailed
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.shortage import shortage
from corehttp.sockets.endpoint import ListeningSocket
from corehttp.standard_streams import open_standard_streams
from corehttp.text import shown
from corehttp.worker import loop_faults, wiring
from corehttp.worker.process import begin
from corehttp.worker.watchdog import watched
from corehttp.worker.worker import Worker

logger = logging.getLogger("corehttp.error")

LAST_SECONDS = 3.0  # seconds that this process may take to end once its supervisor is gone


def main(channel_fd: int) -> int:
    """Serve until the supervisor is gone or says otherwise, and return the exit code."""
    open_standard_streams()
    channel = Channel.adopt(channel_fd)
    boot = begin(channel)
    if boot is None or boot.seat is None:
        return ExitCode.STARTUP
    # A service manager may send it to all processes of the service. When this one ends is the supervisor's business.
    signal.signal(signal.SIGTERM, lambda signum, frame: None)
    os.environ.pop(metrics_directory.VARIABLE, None)  # or metrics of this process would get files there
    config = Config(**boot.config)  # type: ignore[arg-type]
    wiring.start_log(config, "admin")
    try:
        *listening, board = channel.take_fds(len(boot.seat.endpoints) + 1)
        return _run(channel, boot, config, [ListeningSocket(fileno=fd) for fd in listening], Scoreboard.adopt(board))
    except OSError as error:
        channel.send(StartFailed(shortage(error), ""))
    except Exception as error:
        logger.critical("the admin child has failed: %s", shown(error), exc_info=error)
    return ExitCode.STARTUP


def served(config: Config, app: AdminApplication) -> Config:
    """Return how the admin listener of a service with `config` is served: nobody can take much of this process."""
    return Config(
        app=app,
        loop=config.loop,
        http=config.http,
        ws="off",
        lifespan="off",
        proxy_headers=False,
        supervise=False,
        access_log=False,
        server_header=config.server_header,
        blocked_warn=config.blocked_warn,
        limit_connections=256,
        limit_request_line=2048,
        limit_request_fields=64,
        limit_request_head=16384,
        limit_request_body=1024,
        timeout_keep_alive=20.0,
        timeout_request_header=5.0,
        timeout_request_body=5.0,
        timeout_write_stall=10.0,
        timeout_graceful_shutdown=1.0,
        timeout_lifespan_shutdown=1.0,
        shutdown_idle_grace=0.2,
        shutdown_stream_grace=0.0,
    )


def _run(
    channel: ChildEnd, boot: Boot, config: Config, sockets: Sequence[ListeningSocket], board: Scoreboard
) -> ExitCode:
    with asyncio.Runner(loop_factory=wiring.import_early(config)) as runner:
        return runner.run(_serve(channel, config, sockets, board))


async def _serve(channel: ChildEnd, config: Config, sockets: Sequence[ListeningSocket], board: Scoreboard) -> ExitCode:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_faults.report)
    departure: asyncio.Future[bool] = loop.create_future()

    def on_leave(politely: bool) -> None:
        if not departure.done():
            departure.set_result(politely)

    link = SupervisorLink(channel, loop, on_leave)
    app = AdminApplication(config, link, board)
    worker = Worker(app, served(config, app), sockets, "admin")
    channel.outlive_other_end(LAST_SECONDS)
    link.begin()
    await worker.start()
    with watched(loop, lambda now: None, config.blocked_warn, wiring.RUNS):
        channel.send(messages.Ready())
        background = loop.create_task(app.run())
        background.add_done_callback(functools.partial(_pass_failure, departure))
        try:
            if await departure:
                return await worker.stop(LeaveReason.REPLACED)
            worker.abandon()
            return ExitCode.CLEAN
        finally:
            background.cancel()


def _pass_failure(departure: asyncio.Future[bool], task: asyncio.Task[None]) -> None:
    """Have `departure` raise what a task has failed with: a process that does half its work is better replaced."""
    if not task.cancelled() and (error := task.exception()) is not None and not departure.done():
        departure.set_exception(error)
