"""The whole state of an HTTP/1.1 connection, and what follows a response. Pure.

Theory of operation. Requests are read in order and answered in order (RFC 9112, 9.3.2). Reading runs ahead of
answering: requests that were read wait in a queue, and at most one of them, the current one, writes its response.

How far reading has come:

    from  what comes in                                       to
    IDLE  a part of a head                                    HEAD
    IDLE, HEAD  a whole head, without a body                  IDLE; ENDED if no other request may follow
    IDLE, HEAD  a whole head that announces a body            BODY
    IDLE, HEAD  a whole opening handshake                     UPGRADED
    BODY  the last byte of the body                           IDLE; ENDED if no other request may follow
    any   a fault, the end of the client's side, or our end   ENDED

What follows a response, as `after_response` decides it, in the order of its lines:

    the connection was not promised to go on                  CLOSE
    the body of its request has come in whole                 READ_NEXT
    the client waits for a 100 (Continue) that it never got   CLOSE
    more bytes of the body are to come than the limit         CLOSE
    otherwise                                                 DISCARD_BODY

The life of the connection: OPEN until either side ends it; LINGERING while our last bytes go out and what still comes
in is thrown away; CLOSED once the transport is lost or left to another protocol.
"""

from enum import Enum


class Reading(Enum):
    """How far the request that is being read has come."""

    IDLE = "idle"  # between requests
    HEAD = "head"  # bytes of the next request are there
    BODY = "body"  # the head is whole, the body is not
    UPGRADED = "upgraded"  # the last request was an opening handshake: what follows is not HTTP
    ENDED = "ended"  # the last request is read: whatever comes is not one


class Stage(Enum):
    """The life of a connection."""

    OPEN = "open"
    LINGERING = "lingering"  # our last byte is out; what still comes in is thrown away (RFC 9112, 9.6)
    CLOSED = "closed"


class Next(Enum):
    """What a connection does when a response is out."""

    READ_NEXT = "read next"
    DISCARD_BODY = "discard body"
    CLOSE = "close"


def after_response(*, body_unread: bool, body_doubtful: bool, unread: int, limit: int, persistent: bool) -> Next:
    """Decide what follows a response (RFC 9112, 9.3 and 9.6).

    `persistent` is whether the response promised to keep the connection. `body_unread` says that the end of the
    request's body has not come in; `unread` is how many bytes are still to come (-1: unknown, chunked) and `limit`
    how many we throw away rather than close. `body_doubtful` says that the client waits for a 100 (Continue) that
    it never got: whether its body follows is then unknown, so the connection cannot go on.
    """
    if not persistent:
        return Next.CLOSE
    if not body_unread:
        return Next.READ_NEXT
    if body_doubtful or unread > limit:
        return Next.CLOSE
    return Next.DISCARD_BODY
