"""The access log on standard output: collected per request, formatted and written in batches."""

import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable

from corehttp.logs import local_timestamp
from corehttp.protocols.context import AccessRecord

logger = logging.getLogger("corehttp.error")

_FLUSH_AFTER = 0.1  # seconds that an access line waits for company
_BATCH = 1024  # lines
_PENDING_LIMIT = 16 * 1024 * 1024  # bytes not yet taken by standard output before lines are dropped


class AccessLog:
    """Collects what happened per request; formats and writes it in batches, off the request path.

    A request pays one list append. Formatting happens on the event loop, at most a tenth of a second later; the write
    in a thread, so that a reader who is slow to take our lines cannot block a request.
    """

    def __init__(self, form: str, who: str, call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._render = _json_line(who) if form == "json" else _text_line(who, colour=sys.stdout.isatty())
        self._call_later = call_later
        self._records: list[AccessRecord] = []
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._pending = 0  # bytes
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, name="access log", daemon=True)
        self._writer.start()

    def record(self, entry: AccessRecord) -> None:
        """Note a request that has ended."""
        records = self._records
        records.append(entry)
        if len(records) == 1:
            self._call_later(_FLUSH_AFTER, self.flush)
        elif len(records) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Format what was noted and give it to the writer."""
        records, self._records = self._records, []
        if not records:
            return
        if self._pending > _PENDING_LIMIT:
            self._dropped += len(records)
            return
        if self._dropped:
            logger.warning("standard output takes the access log too slowly: %d lines dropped", self._dropped)
            self._dropped = 0
        stamp = local_timestamp(time.time())
        render = self._render
        chunk = "".join([render(stamp, entry) for entry in records]).encode()
        self._pending += len(chunk)
        self._chunks.put(chunk)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is left, for at most `timeout` seconds."""
        self.flush()
        self._chunks.put(None)
        self._writer.join(timeout)

    def _write(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._pending -= len(chunk)
            while chunk:
                try:
                    chunk = chunk[os.write(1, chunk) :]
                except OSError:
                    break  # nobody reads standard output any more; serving goes on


def _address(client: tuple[str, int] | None) -> str:
    return f"{client[0]}:{client[1]}" if client is not None else "-"


def _text_line(who: str, *, colour: bool) -> Callable[[str, AccessRecord], str]:
    template = "%s [" + who + '] %s "%s %s%s%s HTTP/%s" %s %d %.3f ms\n'
    painted = {kind: f"\x1b[{code}m" for kind, code in ((2, "32"), (3, "36"), (4, "33"), (5, "31"))} if colour else {}

    def render(stamp: str, entry: AccessRecord) -> str:
        client, method, path, query, version, status, size, seconds = entry
        mark = "?" if query else ""
        shown = f"{painted.get(status // 100, '')}{status}\x1b[0m" if painted else status
        address = _address(client)
        return template % (
            stamp,
            address,
            method,
            path.decode(),
            mark,
            query.decode(),
            version,
            shown,
            size,
            seconds * 1e3,
        )

    return render


def _json_line(who: str) -> Callable[[str, AccessRecord], str]:
    escape = json.encoder.encode_basestring_ascii
    head = ', "level": "info", "worker": ' + escape(who)

    def render(stamp: str, entry: AccessRecord) -> str:
        client, method, path, query, version, status, size, seconds = entry
        return (
            f'{{"time": "{stamp}"{head}, "client": {escape(_address(client))}, "method": {escape(method)}, '
            f'"path": {escape(path.decode())}, "query": {escape(query.decode())}, "http": "{version}", '
            f'"status": {status}, "bytes": {size}, "duration": {seconds:.6f}}}\n'
        )

    return render
