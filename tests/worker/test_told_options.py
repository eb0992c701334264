"""What a worker is told of the options is what `Config` has of them."""

from corehttp.config import Config
from corehttp.ipc import codec
from corehttp.records import values
from corehttp.settled import Settled
from corehttp.sockets.endpoint import endpoints
from corehttp.worker.told_options import told


def conclusions(options: Settled) -> list[object]:
    """What follows from several options."""
    return [getattr(options, name) for name, value in vars(Settled).items() if isinstance(value, property)]


def test_what_a_worker_is_told_is_what_the_supervisor_has_read() -> None:
    config = Config(
        app="main:app",
        bind=("127.0.0.1:80", "unix:/run/x"),
        header=((b"x-a", b"b"),),
        limit_concurrency=5,
        reload=True,
        control="off",
        log_level="DEBUG",
    )
    content = codec.load(codec.dump(values(config)))
    assert isinstance(content, dict)
    has = told(content)
    assert vars(has) == values(config)
    assert conclusions(has) == conclusions(config) == [True, 0.5, False]
    assert endpoints(has) == endpoints(config)
