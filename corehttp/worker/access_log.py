"""The access log on standard output or in a file: collected per request, formatted and written in batches."""

import logging
import os
import time
from collections.abc import Callable
from itertools import chain

from corehttp.line_writer import LineWriter
from corehttp.log_file import LogFile, open_lines
from corehttp.logs import local_timestamp, utc_timestamp
from corehttp.protocols.observers import AccessRecord, Logged
from corehttp.standard_streams import is_terminal, output
from corehttp.trace_ids import Fields, trace_ids_of
from corehttp.worker.periodic import Periodic
from corehttp.worker.timers import MakeTimer

logger = logging.getLogger("corehttp.error")

_FLUSH_AFTER = 0.05  # seconds that an access line waits for company
_PENDING_LIMIT = 16 * 1024 * 1024  # bytes not yet taken by standard output before lines are dropped


# For the requests of a batch that have them, by their places in it: the fields of the request and of the response.
Details = dict[int, tuple[Fields, Fields]]
# Seconds since the epoch, the records of a batch and their details, to its lines.
Render = Callable[[float, list[AccessRecord], Details], str]


# Of a WebSocket that has ended: client, path, close code, messages in and out and bytes in and out, seconds.
Closing = tuple[str, str, int, tuple[int, int, int, int], float]
RenderClosing = Callable[[float, Closing], str]


class AccessLog:
    """Collects what happened per request; formats and writes it in batches, off the request path.

    A request pays for one tuple: `records.append(...)`, then `arm()` unless `armed`. Formatting happens on the event
    loop, at most a twentieth of a second later. A reader who is slow to take our lines cannot block a request. The
    lines go to the file at `path`, or to standard output if that is None; `colours` says whether text there has
    colours, and None that it has where it is a terminal.

    `form` is "text" or "json". `own_form`, if it is not empty, is what lines of requests look like instead, with the
    atoms of gunicorn; there is none for WebSockets that have ended then. In JSON and with a form of its own a line
    needs more of its request than the record: `armed` stays false, so that `arm` is called for each request.
    """

    def __init__(
        self,
        form: str,
        who: str,
        make_timer: MakeTimer,
        path: str | None = None,
        own_form: str = "",
        colours: bool | None = None,
    ) -> None:
        self._wants_details = bool(own_form) or form == "json"
        self._details: Details = {}
        coloured = path is None and (is_terminal(1) if colours is None else colours)
        self._render, self._render_closing = _renders(form, who, own_form, coloured=coloured)
        self._flush = Periodic("the access log", self.flush)
        self._timer = make_timer(self._flush)
        self.records: list[AccessRecord] = []  # what is noted and not yet formatted
        self.armed = False  # a flush is to come, and no details are wanted
        self._is_set = False  # a flush is to come, where details are wanted
        self._closings: list[Closing] = []
        self._path = path
        self._writer: LineWriter | LogFile
        if path is None:
            self._writer = LineWriter(output(1), _PENDING_LIMIT, _report_dropped, _report_fault)
        else:
            self._writer = open_lines(path, _PENDING_LIMIT, self._report_file_dropped, _report_file_fault)

    def arm(self, request: Logged | None = None) -> None:
        """Have what is noted flushed soon; `request` is that of the last record, None if there is no new one."""
        if self._wants_details:
            if request is not None:
                fields: Fields = request.scope.get("headers", ())
                self._details[len(self.records) - 1] = fields, getattr(request, "fields", ())
            if self._is_set:
                return
            self._is_set = True
        else:
            self.armed = True
        self._timer.set(_FLUSH_AFTER)

    def websocket_closed(
        self, client: str, path: str, code: int, counts: tuple[int, int, int, int], seconds: float
    ) -> None:
        """Note the end of a WebSocket; `counts` are messages in and out, bytes in and out."""
        self._closings.append((client, path, code, counts, seconds))
        if not self.armed:
            self.arm()

    def flush(self) -> None:
        """Format what was noted and give it to the writer."""
        self.armed = self._is_set = False
        records, self.records = self.records, []
        details, self._details = self._details, {}
        closings, self._closings = self._closings, []
        if not records and not closings:
            return
        if not self._writer.has_room:
            self._writer.drop(len(records) + len(closings))
            return
        wall = time.time()
        text = self._render(wall, records, details) + "".join(
            [self._render_closing(wall, closing) for closing in closings]
        )
        self._writer.write(text.encode(errors="backslashreplace"))

    def reopen(self) -> str:
        """Open the file anew if it was renamed or removed; return why that is not possible, or empty text.

        What was noted before is written to where it belongs by then.
        """
        self._flush()
        return self._writer.reopen()

    def close(self, timeout: float = 1.0) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self._timer.close()
        self._flush()
        self._writer.close(timeout)
        if left := self._writer.pending:
            reader = self._path or "standard output"
            logger.warning("%s takes the access log too slowly: its last %d lines may be lost", reader, left)
        elif self._path is not None and self._writer.dropped:
            self._report_file_dropped(self._writer.dropped)

    def _report_file_dropped(self, lines: int) -> None:
        logger.warning("%s could not be written: %d lines of the access log dropped", self._path, lines)


def _report_file_fault(fault: str) -> None:
    logger.error("the access log %s", fault)


def _report_dropped(lines: int) -> None:
    logger.warning("standard output takes the access log too slowly: %d lines dropped", lines)


def _report_fault(error: OSError) -> None:
    logger.warning("standard output cannot be written, the access log is dropped: %s", error.strerror)


def _renders(form: str, who: str, own_form: str, *, coloured: bool) -> tuple[Render, RenderClosing]:
    """Return what renders requests, and what renders WebSockets that have ended."""
    if own_form:
        return _formatted_batch(own_form), _no_closing
    if form == "json":
        return _json_batch(who), _json_closing(who)
    return (_coloured_batch if coloured else _text_batch)(who), _text_closing(who)


def _text_batch(who: str) -> Render:
    """One format operation for a whole batch: half the time of formatting line by line."""

    def render(wall: float, records: list[AccessRecord], details: Details) -> str:
        line = f'{local_timestamp(wall)} [{who}] %s "%s %s HTTP/%s" %d %d %.3f ms\n'
        return line * len(records) % tuple(chain.from_iterable(records))

    return render


def _coloured_batch(who: str) -> Render:
    """Return what renders requests as text with colours of a terminal (ECMA-48)."""
    colours = {2: "32", 3: "36", 4: "33", 5: "31"}

    def render(wall: float, records: list[AccessRecord], details: Details) -> str:
        stamp = local_timestamp(wall)
        return "".join(
            f'{stamp} [{who}] {client} "{method} {target} HTTP/{version}" '
            f"\x1b[{colours.get(status // 100, '0')}m{status}\x1b[0m {size} {milliseconds:.3f} ms\n"
            for client, method, target, version, status, size, milliseconds in records
        )

    return render


def _json_batch(who: str) -> Render:
    """Return what renders requests as a JSON object on each line."""
    from json.encoder import encode_basestring_ascii as escape  # here, since the text log does not need it

    head = f', "level": "info", "worker": {escape(who)}'

    def line(stamp: str, record: AccessRecord, fields: Fields) -> str:
        client, method, target, version, status, size, milliseconds = record
        path, _, query = target.partition("?")
        return (
            f'{{"time": "{stamp}"{head}, "client": {escape(client)}, "method": {escape(method)}, '
            f'"path": {escape(path)}, "query": {escape(query)}, "http": "{version}", '
            f'"status": {status}, "bytes": {size}, "duration": {milliseconds / 1000:.6f}'
            + "".join([f', "{name}": {escape(value)}' for name, value in trace_ids_of({"headers": fields}).items()])
            + "}\n"
        )

    def render(wall: float, records: list[AccessRecord], details: Details) -> str:
        stamp = utc_timestamp(wall)
        return "".join([line(stamp, record, details[n][0] if n in details else ()) for n, record in enumerate(records)])

    return render


def _formatted_batch(form: str) -> Render:
    """Return what renders requests in a form with the atoms of gunicorn."""
    from corehttp.access_format import LoggedRequest, Process, clf_time  # here, since few services need it

    process = Process(os.getpid(), os.environ)

    def render(wall: float, records: list[AccessRecord], details: Details) -> str:
        now = time.localtime(wall)
        stamp = clf_time(now.tm_year, now.tm_mon, now.tm_mday, time.strftime("%H:%M:%S", now), now.tm_gmtoff)
        nothing: tuple[Fields, Fields] = (), ()
        lines = [
            form % LoggedRequest(process, record, *details.get(n, nothing), stamp) for n, record in enumerate(records)
        ]
        return "".join([f"{line}\n" for line in lines])

    return render


def _no_closing(wall: float, closing: Closing) -> str:
    return ""


def _text_closing(who: str) -> RenderClosing:
    """Return what renders the end of a WebSocket as text."""

    def line(wall: float, closing: Closing) -> str:
        client, path, code, (messages_in, messages_out, bytes_in, bytes_out), seconds = closing
        return (
            f'{local_timestamp(wall)} [{who}] {client} "WS {path}" closed {code}, {messages_in} messages '
            f"({bytes_in} bytes) in, {messages_out} ({bytes_out}) out, {seconds:.3f} s\n"
        )

    return line


def _json_closing(who: str) -> RenderClosing:
    """Return what renders the end of a WebSocket as a JSON object on one line."""
    from json.encoder import encode_basestring_ascii as escape

    def line(wall: float, closing: Closing) -> str:
        client, path, code, (messages_in, messages_out, bytes_in, bytes_out), seconds = closing
        return (
            f'{{"time": "{utc_timestamp(wall)}", "level": "info", "worker": {escape(who)}, "client": {escape(client)}, '
            f'"websocket": "closed", "path": {escape(path)}, "code": {code}, "messages_in": {messages_in}, '
            f'"messages_out": {messages_out}, "bytes_in": {bytes_in}, "bytes_out": {bytes_out}, '
            f'"duration": {seconds:.6f}}}\n'
        )

    return line
