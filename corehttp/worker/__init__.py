"""A worker's process; and, for applications, what this worker is: `from corehttp import worker`.

    worker.id            the number of this worker, from 1; its successor in a reload has the same
    worker.generation    1 at the start, one more with each reload
    worker.is_leader     whether this worker is the one that leads, of all workers of the service
    worker.leadership()  a context in which something runs in one worker alone
    worker.report_load() how busy the application is, beyond what the server sees

Without a supervisor, embedded and in tests, there is one worker, which is number 1 and leads.
"""

# Every process of a worker imports this package at its start, so it imports nothing before something is used.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from corehttp.worker.leading import Leadership

    id: int  # noqa: A001
    generation: int
    is_leader: bool

_FACTS = {"id": "worker", "generation": "generation", "is_leader": "leads"}


if not TYPE_CHECKING:  # or a type checker would take every name for one of this module

    def __getattr__(name: str) -> object:
        if name not in _FACTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from corehttp import membership

        return getattr(membership.current, _FACTS[name])


def leadership() -> "Leadership":
    """Return an asynchronous context manager, whose body runs only while this worker leads.

    To enter it waits until this worker is the leader. When the lead is lost the body is cancelled, and the context ends
    without an exception: who wants to go on when this worker leads again enters another one, in a loop. Another worker
    is named only when the bodies of all such contexts in this one have ended, or this worker has.

    The leader is the worker of the newest generation that has served longest. It is lost in a reload, when a worker of
    the next generation serves; when the worker leaves; and with the supervisor.
    """
    from corehttp.worker.leading import Leadership

    return Leadership()


def report_load(load: float) -> None:
    """Say how busy the application is, beyond what the server sees: from 0, idle, to 1, give me nothing new.

    It counts until the next report. Without other workers it has no effect. Raises ValueError for any other number.
    """
    from corehttp import membership

    if not 0 <= load <= 1:
        raise ValueError(f"load must be a number from 0 to 1, not {load!r}")
    membership.current.report_load(float(load))
