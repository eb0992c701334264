"""What clients ask for: each workload is one kind of request to one application, under the name that reports use."""

from dataclasses import dataclass
from enum import Enum

from benchmarks.lib.applications import APPLICATIONS, WEBSOCKET, Application

_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
# The fields that a browser sends with a click on a link, without Host, which the load generator adds.
BROWSER_FIELDS = (
    ("User-Agent", _USER_AGENT),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.9"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cache-Control", "max-age=0"),
    ("Cookie", "session=0123456789abcdef0123456789abcdef"),
    ("Referer", "http://127.0.0.1/"),
    ("Sec-Fetch-Dest", "document"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Site", "same-origin"),
    ("Upgrade-Insecure-Requests", "1"),
)


class Varying(Enum):
    """What differs from one request to the next."""

    NOTHING = "nothing"
    PATH = "path"
    PATH_AND_FIELDS = "path-and-fields"  # also a trace id and a cookie: nothing repeats whole


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of request to one application, under the name that reports use.

    `path` is None where the path that shows that the application has started is also the one to measure.
    """

    name: str
    application: Application
    path: str | None = None
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: int = 0  # bytes of a request's body, or of a WebSocket message
    varying: Varying = Varying.NOTHING
    closes: bool = False  # whether each request has a connection of its own
    most_connections: int = 1000  # a bound for workloads of which more would answer too few requests in a visit

    @property
    def target(self) -> str:
        """The path that is asked for."""
        return self.application.path if self.path is None else self.path

    @property
    def is_websocket(self) -> bool:
        """Whether clients send WebSocket messages and count their echoes, instead of requests and responses."""
        return self.application is WEBSOCKET


_HELLO, _BODIES = APPLICATIONS["hello"], APPLICATIONS["bodies"]
_JSON = (("Content-Type", "application/json"),)
_BINARY = (("Content-Type", "application/octet-stream"),)

WORKLOADS = {
    workload.name: workload
    for workload in (
        *(Workload(name, application) for name, application in APPLICATIONS.items() if name != "bodies"),
        Workload("browser", _HELLO, fields=BROWSER_FIELDS),
        Workload("paths", APPLICATIONS["any-path"], fields=BROWSER_FIELDS, varying=Varying.PATH),
        Workload("nothing-repeats", APPLICATIONS["any-path"], fields=BROWSER_FIELDS, varying=Varying.PATH_AND_FIELDS),
        Workload("post", _BODIES, "/echo", "POST", _JSON, 1024),
        Workload("close", _HELLO, closes=True),
        # Each request takes a whole handshake: wrk resumes no session.
        Workload("tls-close", APPLICATIONS["tls"], closes=True),
        Workload("large", _BODIES, "/large", most_connections=16),
        Workload("stream", _BODIES, "/stream", most_connections=8),
        Workload("upload", _BODIES, "/upload", "POST", _BINARY, 10 << 20, most_connections=4),
        *(
            Workload(f"websocket-{size}-{connections}", WEBSOCKET, body=size, most_connections=connections)
            for size in (125, 1000, 16384)
            for connections in (1, 50)
        ),
    )
}
