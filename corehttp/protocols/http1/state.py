"""The whole state of an HTTP/1.1 connection, and what follows a response. Pure.

Theory of operation. Requests are read in order and answered in order (RFC 9112, 9.3.2). Reading runs ahead of
answering: requests that were read wait in a queue, and at most one of them, the current one, writes its response.

How far reading has come (`ReadState`; `Reader.state`):

    from        what comes in                                                 to
    IDLE        a part of a head, or half of an empty line before one         HEAD
    IDLE        requests for which the queue has no room; they are held       HEAD
    HEAD        the other half of an empty line, and no more                  IDLE
    IDLE, HEAD  a whole head, without a body or with all of it                IDLE; ENDED if no other request may follow
    IDLE, HEAD  a whole head that announces a body, of which more is to come  BODY
    IDLE, HEAD  a whole opening handshake                                     UPGRADED
    BODY        the last byte of the body                                     IDLE; ENDED if no other request may follow
    UPGRADED    more bytes; they are held for the other protocol              UPGRADED
    IDLE, HEAD  a whole head of a request that another worker serves          ENDED, as the connection moves there
    any         a fault, the end of the client's side, or our end             ENDED

What follows a response, as `after_response` decides it, in the order of its lines:

    the connection was not promised to go on                  CLOSE
    the body of its request has come in whole                 READ_NEXT
    the client waits for a 100 (Continue) that it never got   CLOSE
    more bytes of the body are to come than the limit         CLOSE
    otherwise                                                 DISCARD_BODY

The life of the connection (`ConnectionStage`; `HTTP1Connection.stage`). A hand-over to another worker is a loss, too:

    from             what happens                                                                  to
    OPEN             the last response or a refusal is written, or an idle connection is closed    LINGERING
    OPEN             the transport is left to another protocol                                     CLOSED
    OPEN, LINGERING  the transport is lost                                                         CLOSED

A request begins when it is the first of the queue, there is no current one, the client takes what is written, and the
connection is OPEN. A connection is idle when it is OPEN, reading is IDLE, and there is neither a queue nor a current
request. Beside the states there are:

    Turns.queue             the exchanges that were read and are not begun, with their intents
    Turns.current           the exchange whose response is being written; `progress` says how far that has come
    Turns._refusal          the answer to a fault; it is sent when every request before the fault is answered
    Turns._advancing        `advance` is running: a response that ends within it need not have it called again
    Intent.persistent       the head of a request lets the connection go on
    IncomingBody.persistent the same, less what its response has decided meanwhile
    Writer.last             the response that is written is the last one, whatever its request has asked for
    Writer.congested        the client takes less than is written: nothing begins, and `send()` waits
    Writer._begun           the first bytes of the response are out, to find out whether anybody reads it
    Writer._file            the part of a file that is going out: nothing else may be written
    Writer._outlet          times a client that does not take what is written
    Reader.held             bytes that were read and are not parsed
    Reader.partial          what was seen of the head in `held`; None if whole requests are held
    Reader.body             the body that is being read, for its exchange or to be thrown away
    Reader._ahead           how many requests may wait in the queue before further heads stay unparsed
    Reader._blank           bytes of empty lines before a request; an odd number is half of one
    StickyReader._settled   the next request is served here, since another worker has passed it on for that
    StickyReader._waits     the next request is for another worker, to which the connection cannot move yet
    Inflow.paused           the client is not read: too much waits to be taken or to begin, or it rests
    Inflow._resting         the client is not read until others have had a turn
    Inflow.arrival          times the rest of a head, or a body
    HTTP1Connection.half_closed  watches a client that has closed its side, or is suspected to be gone
"""

from enum import Enum


class ReadState(Enum):
    """How far the request that is being read has come."""

    IDLE = "idle"  # between requests
    HEAD = "head"  # bytes of the next request are there
    BODY = "body"  # the head is whole, the body is not
    UPGRADED = "upgraded"  # the last request was an opening handshake: what follows is not HTTP
    ENDED = "ended"  # the last request is read: whatever comes is not one


class ConnectionStage(Enum):
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
