"""What the admin listener answers, as values, and how it is sent."""

import json
from collections.abc import Mapping

from corehttp.asgi import Send
from corehttp.records import record

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
# Nothing of these pages is to be kept, guessed, framed or read by a page from elsewhere.
_FIELDS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


@record
class Page:
    """A whole response."""

    status: int
    body: bytes
    kind: str = TEXT  # its Content-Type
    fields: tuple[tuple[bytes, bytes], ...] = ()  # beside those that all have


def text(status: int, *lines: str, fields: tuple[tuple[bytes, bytes], ...] = ()) -> Page:
    """Return a page of these lines."""
    return Page(status, "".join(f"{line}\n" for line in lines).encode(), fields=fields)


def as_json(content: Mapping[str, object]) -> Page:
    """Return a page with this object."""
    return Page(200, json.dumps(content).encode() + b"\n", JSON)


async def send_page(page: Page, send: Send) -> None:
    """Send a page; to a HEAD request the server sends it without its body."""
    await send_head(page.status, page.kind, send, (b"content-length", str(len(page.body)).encode()), *page.fields)
    await send({"type": "http.response.body", "body": page.body})


async def send_head(status: int, kind: str, send: Send, *fields: tuple[bytes, bytes]) -> None:
    """Send the beginning of a response."""
    headers = [(b"content-type", kind.encode()), *_FIELDS, *fields]
    await send({"type": "http.response.start", "status": status, "headers": headers})
