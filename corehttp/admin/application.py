"""The ASGI application of the admin listener: it tells how the service is, and changes nothing."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from corehttp.admin import dashboard, pages, probes
from corehttp.admin.content import Content
from corehttp.admin.exposition import Exposition
from corehttp.admin.guard import Admittance, Asker, admit, origin_of
from corehttp.admin.pages import Page, send_page
from corehttp.admin.probes import ProbeResult
from corehttp.admin.recorder import Recorder
from corehttp.admin.stream import EventStream
from corehttp.admin.supervisor_link import SupervisorLink
from corehttp.asgi import Receive, Scope, Send
from corehttp.config import Config
from corehttp.control.messages import SCHEMA
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.option_kinds import split_address
from corehttp.records import record

_METHODS = ("GET", "HEAD")
_EVENTS = "/events"  # what the dashboard listens to

Judge = Callable[[Content | None, float], ProbeResult]
_PROBES: Mapping[str, Judge] = {
    "/livez": probes.live,
    "/healthz": probes.live,
    "/readyz": probes.ready,
    "/startupz": probes.started,
}
_TOKEN_NEEDED = pages.text(
    401,
    "This is for this machine, and for those who have the token of --admin-token.",
    fields=((b"www-authenticate", b'Basic realm="corehttp", charset="UTF-8"'),),
)
_NO_TOKEN = pages.text(
    403, "This is for this machine alone; with --admin-token it is for those who have that token, too."
)
_WRONG_HOST = pages.text(403, "The Host field names another machine than this one.")


@record
class _Route:
    """What a path leads to."""

    private: bool  # whether it is for this machine, and for those who have the token
    answer: Callable[[Scope], Awaitable[Page]]


class AdminApplication:
    """Answers clients of `--admin`. `run` must run beside it."""

    def __init__(self, config: Config, link: SupervisorLink, board: Scoreboard) -> None:
        self._config = config
        self._link = link
        self._names = _names(config.admin or "")
        self._recorder = Recorder(link, board)
        self._stream = EventStream(self._recorder)
        self._routes = {
            "/": _Route(True, self._dashboard),
            **{path: _Route(False, self._probe) for path in _PROBES},
            "/status": _Route(True, self._status),
            "/metrics": _Route(False, self._metrics),
            "/metrics/app": _Route(True, self._app_metrics),
        }
        self._exposition = Exposition(config, link, board)

    async def run(self) -> None:
        """Keep a record of the service, and order among the application's metrics, until this is cancelled."""
        await asyncio.gather(self._recorder.run(), self._exposition.prune())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope["path"]
        route = self._routes.get(path)
        refusal = self._refusal(scope, private=route is None or route.private)
        if refusal is None and path == _EVENTS and scope["method"] in _METHODS:
            await self._stream.send_to(receive, send, head_only=scope["method"] == "HEAD")
            return
        if refusal is not None:
            page = refusal
        elif route is None:
            page = pages.text(404, "There is nothing here. What there is:", *sorted(self._routes))
        elif scope["method"] not in _METHODS:
            page = pages.text(405, "Only GET and HEAD are answered here.", fields=((b"allow", b"GET, HEAD"),))
        else:
            page = await route.answer(scope)
        await send_page(page, send)

    def _refusal(self, scope: Scope, *, private: bool) -> Page | None:
        """Return what a client is answered who may not see this; None for one who may."""
        fields: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # the first one of each name
        asker = Asker(
            origin_of(scope["client"]),
            fields[b"host"].decode("latin-1") if b"host" in fields else None,
            fields.get(b"authorization", b"").decode("latin-1"),
            forwarded=any(name in fields for name in (b"forwarded", b"x-forwarded-for", b"x-real-ip")),
        )
        match admit(asker, private=private, token=self._config.admin_token, names=self._names):
            case Admittance.GRANTED:
                return None
            case Admittance.HOST_REFUSED:
                return _WRONG_HOST
            case Admittance.TOKEN_NEEDED:
                return _TOKEN_NEEDED if self._config.admin_token else _NO_TOKEN

    async def _dashboard(self, scope: Scope) -> Page:
        return dashboard.page()

    async def _metrics(self, scope: Scope) -> Page:
        return await self._exposition.service(_accept(scope))

    async def _app_metrics(self, scope: Scope) -> Page:
        return await self._exposition.application(_accept(scope))

    async def _probe(self, scope: Scope) -> Page:
        seen = await self._link.look()
        verdict = _PROBES[scope["path"]](seen.overview, seen.silent)
        word = "ok" if verdict.ok else "failed"
        wants_more = not verdict.ok or b"verbose" in scope["query_string"].split(b"&")
        return pages.text(200 if verdict.ok else 503, word, *(verdict.reasons if wants_more else ()))

    async def _status(self, scope: Scope) -> Page:
        seen = await self._link.look()
        if seen.overview is None or seen.silent >= probes.SILENT:
            return pages.text(503, f"The supervisor has not answered for {seen.silent:.0f} s.")
        return pages.as_json({"schema": SCHEMA, **self._recorder.with_figures(seen.overview)})


def _accept(scope: Scope) -> str:
    """Return the field Accept of a request; empty without one."""
    return b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")


def _names(address: str) -> frozenset[str]:
    """Return the names of this machine that a Host field may have: its own, and the one of --admin."""
    own = socket.gethostname().lower()
    place = split_address(address)
    return frozenset({own, own.partition(".")[0], *((place[0].lower(),) if isinstance(place, tuple) else ())})
