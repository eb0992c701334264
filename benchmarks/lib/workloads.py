"""What clients ask for: each workload is one kind of request to one application, by a name that reports use."""

from dataclasses import dataclass
from enum import Enum

from benchmarks.lib.applications import APPLICATIONS, Application

_USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
# What a browser sends with a click on a link, but for Host, which the load generator adds.
_BROWSER = (
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
    """One kind of request; `path` None: that by which the application's start is awaited."""

    name: str
    application: Application
    path: str | None = None
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    body: int = 0  # bytes
    varying: Varying = Varying.NOTHING
    closes: bool = False  # one connection for each request
    most_connections: int = 1000  # more than so many would answer too few requests in a slice

    @property
    def target(self) -> str:
        """The path that is asked for."""
        return self.application.path if self.path is None else self.path


_HELLO, _BODIES = APPLICATIONS["hello"], APPLICATIONS["bodies"]
_JSON = (("Content-Type", "application/json"),)
_BINARY = (("Content-Type", "application/octet-stream"),)

WORKLOADS = {
    workload.name: workload
    for workload in (
        *(Workload(name, application) for name, application in APPLICATIONS.items() if name != "bodies"),
        Workload("browser", _HELLO, fields=_BROWSER),
        Workload("paths", APPLICATIONS["any-path"], fields=_BROWSER, varying=Varying.PATH),
        Workload("nothing-repeats", APPLICATIONS["any-path"], fields=_BROWSER, varying=Varying.PATH_AND_FIELDS),
        Workload("post", _BODIES, "/echo", "POST", _JSON, 1024),
        Workload("close", _HELLO, closes=True),
        Workload("large", _BODIES, "/large", most_connections=16),
        Workload("stream", _BODIES, "/stream", most_connections=8),
        Workload("upload", _BODIES, "/upload", "POST", _BINARY, 10 << 20, most_connections=4),
    )
}
