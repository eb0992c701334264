"""The ids by which a request is found again in other services: those of its trace, and its own. Pure."""

from collections.abc import Iterable, Mapping

from corehttp.asgi import Unchecked
from corehttp.patterns import pattern

Fields = Iterable[tuple[bytes, bytes]]

# traceparent in version 00, and in later ones, which may have more at the end (W3C Trace Context, 3.2).
_TRACEPARENT = pattern(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_REQUEST_ID = pattern(rb"[!-~]{1,200}")  # visible characters; a longer one is none


def trace_ids_of(scope: Mapping[str, Unchecked]) -> dict[str, str]:
    """Return the ids of the request of a scope; none if the application has put something else in its place."""
    try:
        return trace_ids(scope.get("headers", ()))
    except (TypeError, ValueError):
        return {}


def trace_ids(fields: Fields) -> dict[str, str]:
    """Return `trace_id` and `span_id` of a valid traceparent, and `request_id` of x-request-id, as far as known.

    `fields` are those of a request's head, with names in lower case. A client may send what it likes in them. Of two
    traceparents neither counts (W3C Trace Context, 2.2); of several x-request-ids the first does.
    """
    found: dict[str, str] = {}
    traces: list[bytes] = []
    for name, value in fields:
        if name == b"traceparent":
            traces.append(value)
        elif name == b"x-request-id" and "request_id" not in found and _REQUEST_ID().fullmatch(value):
            found["request_id"] = value.decode()
    if len(traces) == 1 and (match := _TRACEPARENT().fullmatch(traces[0])) and (match[1] != b"00" or match[4] is None):
        return {"trace_id": match[2].decode(), "span_id": match[3].decode(), **found}
    return found
