"""Warns of an application whose clients are to be tied to workers and are not (`--sticky`)."""

import logging
import sys

from corehttp import membership
from corehttp.cpus import available_cpus, count_workers, cpu_quota
from corehttp.worker.sticky_hint import sticky_hint

logger = logging.getLogger("corehttp.error")


def log_hint(workers: str) -> None:
    """Log once for a service what to set if its application, which is loaded by now, needs its clients tied to workers.

    `workers` is the value of that option.
    """
    if membership.current.number != 1:
        return  # this is not the first worker process of the service
    hint = sticky_hint(sys.modules, count_workers(workers, available_cpus(), cpu_quota())[0])
    if hint:
        logger.warning("%s", hint)
