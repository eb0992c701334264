"""The heads of the requests of one connection, and the exchanges that they become."""

from time import monotonic
from typing import NamedTuple

from corehttp.asgi import Headers
from corehttp.errors import PeerError
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import ProtocolUpgrade, ResponseStream
from corehttp.protocols.exchange import Exchange
from corehttp.protocols.field_names import forwarding
from corehttp.protocols.http1.head import HeadScan, body_too_large, diagnose, other_version
from corehttp.protocols.http1.known_head import KNOWN_SIZE, SPARE, KnownHead, may_be_known
from corehttp.protocols.http1.refusal import PeerFields
from corehttp.protocols.http1.semantics import Intent, judge, origin_form, takes_trailers, use_authority
from corehttp.protocols.http1.sender import sender_of
from corehttp.protocols.peer import Peer
from corehttp.protocols.scope import HTTPScope, Offers, http_scope, scope_like

# The status that a request is refused with, the reason, and the fields of the answer beside the usual ones.
HeadFault = tuple[int, str, PeerFields]


class Upgrade(NamedTuple):
    """What a head asks for that is no request to be answered over HTTP."""

    protocol: ProtocolUpgrade
    peer: Peer  # who asks
    method: str
    scope: HTTPScope  # the scope of the request, as over HTTP


class RequestHeads:
    """Makes exchanges of the heads of one connection, and says what is wrong with those that become none."""

    __slots__ = ("_context", "_is_first", "_stream", "intent", "known", "offers", "peer", "upgrade", "wrong")

    intent: Intent  # what the head of the last exchange asks of the connection
    peer: Peer  # the client as the socket knows it; set once the connection is made

    def __init__(self, context: WorkerContext, stream: ResponseStream) -> None:
        """The exchanges send their responses to `stream`."""
        self._context = context
        self.offers: Offers = context  # what the scopes of its requests have in common
        self._stream = stream
        self.known: KnownHead | None = None  # the last head, if it may be repeated
        # Whether no head was read yet. The first one is not remembered, since many connections have no other.
        self._is_first = True
        self.upgrade: Upgrade | None = None  # what the last head asks for, if that is another protocol
        self.wrong: HeadFault | None = None  # what is wrong with the last head

    def read(self, head: bytes) -> Exchange | None:
        """The exchange of a whole head; None if it asks for another protocol (`upgrade`), or is refused (`wrong`)."""
        known = self.known
        if known is not None:
            if head == known.head or known.takes(head):
                self.intent = known.intent
                return self.repeat(known)
            self.forget()
        try:
            exchange = self._judge(head)
        except PeerError as error:
            self.wrong = self._fault(head, error)
            return None
        if exchange is not None:
            context = self._context
            exchange.started_at = monotonic() if context.times_requests else context.clock.monotonic
        return exchange

    def repeat(self, known: KnownHead) -> Exchange:
        """The exchange of a request with the head that is `known`, as `repeats` or `takes` has found."""
        context, offers = self._context, self.offers
        scope = scope_like(known.template or known.build_template(offers), known.fields, offers)
        exchange = Exchange(scope, known.intent.length, known.intent.expects_continue, self._stream, context)
        exchange.peer = known.peer
        exchange.method = known.method
        exchange.target = known.target
        exchange.version = "1.1"
        exchange.started_at = monotonic() if context.times_requests else context.clock.monotonic
        return exchange

    def _fault(self, head: bytes, error: PeerError) -> HeadFault:
        """The first thing that is wrong with a head that was refused with `error`.

        It is no exception: one that is kept by the frame that has caught it is freed by the garbage collector only.
        """
        fault = diagnose(head, self._context.limits) or error
        return fault.status, str(fault), fault.fields

    def forget(self) -> None:
        """Keep nothing of the last head."""
        if self.known is not None:
            self._context.known_room += self.known.limit
            self.known = None

    def _judge(self, head: bytes) -> Exchange | None:
        """The exchange of a head of which nothing is known; None if it asks for another protocol.

        Raises PeerError for a head that is refused.
        """
        context = self._context
        if len(head) > context.plain_head:
            HeadScan(context.limits).scan(head)
        headers, uncommon = context.parser.parse(head)
        method, target, version = _request_line(head)
        text = target.decode("latin-1")
        if len(headers) > context.limits.request_fields:
            raise PeerError(431, f"a request must not have more than {context.limits.request_fields} fields")
        fields = dict(headers)
        intent = judge(method, text, version, headers, fields)
        if not intent.persistent:
            context.parser.renew()
        if text[0] != "/":
            use_authority(target, headers)
            target = origin_form(target)
        peer, trust = self.peer, context.trust
        said = forwarding(fields) if uncommon and trust is not None else []
        if said:
            peer, headers = sender_of(context, peer, headers, said)
        scope = http_scope(self.offers, peer, method, version, target, text, headers)
        if b"upgrade" in fields and context.recognize_upgrade is not None:
            upgrade = context.recognize_upgrade(scope, peer)
            if upgrade is not None:
                self.upgrade = Upgrade(upgrade, peer, method, scope)
                return None
        if intent.length > context.limits.request_body:
            raise body_too_large(context.limits)
        exchange = Exchange(scope, intent.length, intent.expects_continue, self._stream, context)
        exchange.peer = peer
        exchange.method = method
        exchange.target = text
        exchange.version = version
        self.intent = intent
        if b"te" in fields and version == "1.1" and takes_trailers(headers):
            exchange.takes_trailers = True
            scope["extensions"]["http.response.trailers"] = {}
        elif (
            intent.persistent
            and may_be_known(version, text, fields)
            and (not said or trust is None or trust.believes(self.peer))
        ):
            self._remember(head, exchange, headers, fixed=bool(said))
        return exchange

    def _remember(self, head: bytes, exchange: Exchange, headers: Headers, *, fixed: bool) -> None:
        """Remember a head that may be repeated, unless it is the first, or the worker remembers too many."""
        context = self._context
        if self._is_first:
            self._is_first = False
        elif len(head) <= KNOWN_SIZE:
            limit = min(len(head) + SPARE, context.plain_head)
            if limit <= context.known_room:
                context.known_room -= limit
                said = exchange.method, exchange.target
                self.known = KnownHead(head, *said, headers, self.intent, exchange.peer, fixed=fixed, limit=limit)


def _request_line(head: bytes) -> tuple[str, bytes, str]:
    """Method, target and version of a head that a parser has taken; raises PeerError."""
    try:
        method, target, version = head[: head.find(b"\r\n")].split(b" ")
    except ValueError:
        # The parser is lenient about spaces; what is wrong, `diagnose` finds.
        raise PeerError(400, "the request line is not exact") from None
    return method.decode("latin-1"), target, "1.1" if version == b"HTTP/1.1" else other_version(version)
