"""The access log on standard output: collected per request, formatted and written in batches."""

import logging
import time
from collections.abc import Callable
from itertools import chain

from corehttp.line_writer import LineWriter
from corehttp.logs import local_timestamp, utc_timestamp
from corehttp.protocols.observers import AccessRecord
from corehttp.standard_streams import is_terminal, output
from corehttp.worker.periodic import Periodic
from corehttp.worker.timers import MakeTimer

logger = logging.getLogger("corehttp.error")

_FLUSH_AFTER = 0.05  # seconds that an access line waits for company
_PENDING_LIMIT = 16 * 1024 * 1024  # bytes not yet taken by standard output before lines are dropped


Render = Callable[[float, list[AccessRecord]], str]  # seconds since the epoch and the records of a batch, to its lines


# Of a WebSocket that has ended: client, path, close code, messages in and out and bytes in and out, seconds.
Closing = tuple[str, str, int, tuple[int, int, int, int], float]
RenderClosing = Callable[[float, Closing], str]


class AccessLog:
    """Collects what happened per request; formats and writes it in batches, off the request path.

    A request pays for one tuple: `records.append(...)`, then `arm()` unless `armed`. Formatting happens on the event
    loop, at most a twentieth of a second later. A reader who is slow to take our lines cannot block a request.
    """

    def __init__(self, form: str, who: str, make_timer: MakeTimer) -> None:
        make_render = _json_batch if form == "json" else _coloured_batch if is_terminal(1) else _text_batch
        self._render = make_render(who)
        self._render_closing = (_json_closing if form == "json" else _text_closing)(who)
        self._flush = Periodic("the access log", self.flush)
        self._timer = make_timer(self._flush)
        self.records: list[AccessRecord] = []  # what is noted and not yet formatted
        self.armed = False  # a flush is to come
        self._closings: list[Closing] = []
        self._writer = LineWriter(output(1), _PENDING_LIMIT, _report_dropped, _report_fault)

    def arm(self) -> None:
        """Have what is noted flushed soon."""
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
        self.armed = False
        records, self.records = self.records, []
        closings, self._closings = self._closings, []
        if not records and not closings:
            return
        if not self._writer.has_room:
            self._writer.drop(len(records) + len(closings))
            return
        wall = time.time()
        text = self._render(wall, records) + "".join([self._render_closing(wall, closing) for closing in closings])
        self._writer.write(text.encode(errors="backslashreplace"))

    def close(self, timeout: float = 1.0) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self._timer.close()
        self._flush()
        self._writer.close(timeout)
        if left := self._writer.pending:
            logger.warning("standard output takes the access log too slowly: its last %d lines may be lost", left)


def _report_dropped(lines: int) -> None:
    logger.warning("standard output takes the access log too slowly: %d lines dropped", lines)


def _report_fault(error: OSError) -> None:
    logger.warning("standard output cannot be written, the access log is dropped: %s", error.strerror)


def _text_batch(who: str) -> Render:
    """One format operation for a whole batch: half the time of formatting line by line."""

    def render(wall: float, records: list[AccessRecord]) -> str:
        line = f'{local_timestamp(wall)} [{who}] %s "%s %s HTTP/%s" %d %d %.3f ms\n'
        return line * len(records) % tuple(chain.from_iterable(records))

    return render


def _coloured_batch(who: str) -> Render:
    colours = {2: "32", 3: "36", 4: "33", 5: "31"}

    def render(wall: float, records: list[AccessRecord]) -> str:
        stamp = local_timestamp(wall)
        return "".join(
            f'{stamp} [{who}] {client} "{method} {target} HTTP/{version}" '
            f"\x1b[{colours.get(status // 100, '0')}m{status}\x1b[0m {size} {milliseconds:.3f} ms\n"
            for client, method, target, version, status, size, milliseconds in records
        )

    return render


def _json_batch(who: str) -> Render:
    from json.encoder import encode_basestring_ascii as escape  # here, since the text log does not need it

    head = f', "level": "info", "worker": {escape(who)}'

    def line(stamp: str, record: AccessRecord) -> str:
        client, method, target, version, status, size, milliseconds = record
        path, _, query = target.partition("?")
        return (
            f'{{"time": "{stamp}"{head}, "client": {escape(client)}, "method": {escape(method)}, '
            f'"path": {escape(path)}, "query": {escape(query)}, "http": "{version}", '
            f'"status": {status}, "bytes": {size}, "duration": {milliseconds / 1000:.6f}}}\n'
        )

    def render(wall: float, records: list[AccessRecord]) -> str:
        stamp = utc_timestamp(wall)
        return "".join([line(stamp, record) for record in records])

    return render


def _text_closing(who: str) -> RenderClosing:
    def line(wall: float, closing: Closing) -> str:
        client, path, code, (messages_in, messages_out, bytes_in, bytes_out), seconds = closing
        return (
            f'{local_timestamp(wall)} [{who}] {client} "WS {path}" closed {code}, {messages_in} messages '
            f"({bytes_in} bytes) in, {messages_out} ({bytes_out}) out, {seconds:.3f} s\n"
        )

    return line


def _json_closing(who: str) -> RenderClosing:
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
