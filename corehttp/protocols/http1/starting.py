"""How the application is started for a request."""

from corehttp.protocols.context import WorkerContext
from corehttp.protocols.exchange import Exchange


def start(context: WorkerContext, exchange: Exchange) -> None:
    """Start the application, and note in the worker's ledger that it runs, and whether it waits.

    It may have returned before this does.
    """
    ledger = context.ledger
    if ledger is None:
        task = context.fresh().run(context.start_task, exchange.run())
        if not exchange.ended:
            exchange.keep(task)
        return
    method, path = exchange.method, exchange.scope["raw_path"]  # before the application sees the scope
    if path != ledger.path or method != ledger.method:
        ledger.method, ledger.path = method, path
        ledger.name(method.encode(), path)
    ledger.since[0] = context.clock.monotonic
    task = context.fresh().run(context.start_task, exchange.run())
    if not exchange.ended:
        exchange.keep(task)
        exchange.place = ledger.enter(context.clock.monotonic, method.encode(), path)
    ledger.since[0] = 0.0
