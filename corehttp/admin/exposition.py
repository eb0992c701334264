"""The pages with metrics: those of the service, and those of the application. Both need prometheus_client."""

import asyncio
import importlib
import logging
import platform
import time
from typing import TYPE_CHECKING

from corehttp.admin import pages, snapshot
from corehttp.admin.pages import Page
from corehttp.admin.snapshot import Build
from corehttp.admin.supervisor_link import SupervisorLink
from corehttp.config import Config
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.shortage import shortage
from corehttp.version import __version__
from corehttp.worker import wiring

if TYPE_CHECKING:
    from prometheus_client.core import Metric

logger = logging.getLogger("corehttp.error")

KEPT = 0.25  # seconds for which metrics are shown again, however many ask for them
FORMS = 8  # how many forms of them are kept; clients choose those by the field Accept
PRUNED = 10.0  # seconds between two looks for files of processes that have ended
_MISSING = pages.text(501, "Metrics need the package prometheus_client: pip install 'corehttp-server[metrics]'.")
_NO_DIRECTORY = pages.text(404, "There are no metrics of the application: --prometheus-multiproc names no directory.")


class Exposition:
    """Makes the pages. To be used in the running event loop."""

    def __init__(self, config: Config, link: SupervisorLink, board: Scoreboard) -> None:
        self._config = config
        self._link = link
        self._board = board
        self._taken_at = -KEPT  # when the metrics were taken that are shown (seconds, monotonic)
        self._families: list[Metric] = []
        self._shown: dict[str, Page] = {}  # their pages, by the field Accept
        self._directory = asyncio.Lock()  # held by who uses the directory of the application's metrics
        try:
            importlib.import_module("prometheus_client")
        except ImportError:
            self.available = False
            logger.info("/metrics answers 501: prometheus_client is not installed (the extra `metrics`)")
        else:
            self.available = True

    async def service(self, accept: str) -> Page:
        """Return the metrics of the service, in the form that the field Accept asks for.

        All forms show metrics of the same moment, so that no counter goes back for who asks for one after the other.
        """
        if not self.available:
            return _MISSING
        from corehttp.admin import metrics

        if time.monotonic() - self._taken_at >= KEPT:
            seen = await self._link.look()
            if seen.overview is None:
                return pages.text(503, f"The supervisor has not answered for {seen.silent:.1f} s.")
            taken = snapshot.take(seen.overview, self._board, self._build())
            self._families = [*metrics.families(taken), *metrics.process_families(snapshot.pid_of(seen.overview))]
            self._taken_at, self._shown = time.monotonic(), {}
        page = self._shown.get(accept) or Page(200, *metrics.text(self._families, accept))
        if len(self._shown) < FORMS:
            self._shown[accept] = page
        return page

    async def application(self, accept: str) -> Page:
        """Return the metrics of the application's processes, in the form that the field Accept asks for."""
        directory = self._config.prometheus_multiproc
        if directory is None:
            return _NO_DIRECTORY
        if not self.available:
            return _MISSING
        from corehttp.admin import app_metrics, metrics

        try:
            async with self._directory:
                families = await asyncio.to_thread(app_metrics.AppMetrics(directory).collect)
        except (OSError, *app_metrics.CORRUPT) as error:
            reason = shortage(error) if isinstance(error, OSError) else str(error)
            logger.error("the metrics in %s cannot be read: %s", directory, reason)
            return pages.text(503, f"The metrics in {directory} cannot be read: {reason}")
        return Page(200, *metrics.text(families, accept))

    async def prune(self) -> None:
        """Merge the files of processes that have ended again and again, until this is cancelled."""
        directory = self._config.prometheus_multiproc
        if directory is None or not self.available:
            return
        from corehttp.admin.app_metrics import AppMetrics

        while True:
            try:
                async with self._directory:
                    await asyncio.to_thread(AppMetrics(directory).prune)
            except OSError as error:
                logger.error("the files in %s cannot be merged: %s", directory, shortage(error))
            await asyncio.sleep(PRUNED)

    def _build(self) -> Build:
        """Return what serves; the workers have the same event loop and parser as this process."""
        loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
        parser = wiring.parser_factory(self._config.http)
        http = getattr(parser, "__module__", "").rpartition("_")[2]
        return Build(__version__, platform.python_version(), loop, http)
