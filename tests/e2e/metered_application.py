"""An application that counts with prometheus_client, in as many processes as there are workers."""

from prometheus_client import Counter, Gauge, Histogram

from corehttp.asgi import Receive, Scope, Send

JOBS = Counter("jobs", "Jobs that were done.", ["kind"])
TOOK = Histogram("job_seconds", "Seconds that jobs took.")
BUSY = Gauge("busy", "Processes that are busy.", multiprocess_mode="livesum")
BUSY.set(1)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    JOBS.labels("fast").inc()
    TOOK.observe(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})
