"""Which worker serves a request (`--sticky`), as one worker sees it; implements `protocols.affinity.Affinity`.

A worker that owns a key is known by its slot, so that its successor owns the same keys. If nobody in the slot takes
connections, since its worker has ended, leaves or is blocked, the slot that the key prefers next has the request.
"""

import functools
import math
import socket
import time
from collections.abc import Callable, Sequence

from corehttp.asgi import Scope
from corehttp.chance import chance
from corehttp.ipc import rendezvous
from corehttp.ipc.parcel import Parcel
from corehttp.ipc.scoreboard import ROWS
from corehttp.ipc.sticky_area import StickyArea
from corehttp.protocols.affinity import ClientConnection
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.sticky_cookie import NAME, CookieSetter
from corehttp.protocols.sticky_keys import Rule, key_reader, parse_rule
from corehttp.sockets import address_choice
from corehttp.worker.siblings import Siblings

EXTENSION = "corehttp.sticky"  # the name in the scope under which applications find `bind`
_MAPPED = bytes(10) + b"\xff\xff"  # how an address of IPv4 begins that is mapped into IPv6
_SHORT = 128  # bytes of the longest key that is remembered
_REMEMBERED = 4096  # keys whose preferences are remembered: to find them out takes 5 us


def tie_clients(rules: Sequence[str], context: WorkerContext, siblings: Siblings | None, rescue_after: float) -> None:
    """Have requests served by the workers to which the rules of `--sticky` tie them.

    A worker that is blocked is passed nothing after `rescue_after` seconds; 0: it is waited for. Where there are no
    other workers nothing is tied, and applications can bind values all the same.
    """
    bind: Callable[[str | bytes], object] = as_key
    if siblings is not None:
        parsed = [parse_rule(rule) for rule in rules]
        area = siblings.sticky_area()
        context.affinity = affinity = WorkerAffinity(parsed, context, siblings, area, rescue_after or math.inf)
        if any(rule.is_own_cookie for rule in parsed):
            context.app = CookieSetter(context.app, affinity)
        bind = affinity.bind
    context.extensions[EXTENSION] = {"bind": bind}
    context.websocket_extensions[EXTENSION] = {"bind": bind}


def as_key(value: str | bytes) -> bytes:
    """Return the key that a value is in a cookie, a field or a query.

    Raises TypeError unless it is text or bytes, and ValueError for text that UTF-8 cannot express (lone surrogates).
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"corehttp.sticky: bind() takes text or bytes, not {value!r:.80}")


class WorkerAffinity:
    """Finds the owners of requests by `rules`, of which the first that gives a request a key counts.

    A worker whose event loop has not run for `patience` seconds is passed nothing.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        context: WorkerContext,
        siblings: Siblings,
        area: StickyArea,
        patience: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._siblings = siblings
        self._area = area
        self._secret = area.secret
        self._patience = patience
        self._now = now
        self._readers = [(key_reader(rule, NAME, self._is_own), rule) for rule in rules]
        self._gives_cookies = any(rule.is_own_cookie for rule in rules)
        self._remembered = functools.lru_cache(_REMEMBERED)(_find)
        self._remembered_of_address = functools.lru_cache(_REMEMBERED)(_find_for_address)
        self._ticket = rendezvous.token(area.secret, siblings.slot)

    def elsewhere(self, scope: Scope, connection: ClientConnection | None = None) -> int | None:
        """Return the slot of the worker that is to serve the request of `scope`; None if this worker is to.

        A worker that leaves has its requests served by others, as long as others go on. A client that is to get the
        server's cookie is served where its connection is, unless that is shared, as those of a proxy are. These move to
        the workers of the clients whose requests they bring: newcomers would all stay with the busiest of them.
        """
        context, siblings = self._context, self._siblings
        leaves = context.hand_over is not None
        if context.draining and not leaves:
            return None
        named, preferred = self._owners(scope)
        own = siblings.slot
        first = preferred[0] if named is None and preferred else named
        if first is None:
            newcomer = connection is not None and connection.is_shared and self._gives_cookies and not leaves
            return self._anyone() if newcomer else None
        if connection is not None:
            connection.is_shared = True
        if first == own and not leaves:
            return None
        takers = siblings.takers(self._now(), self._patience)
        if first not in takers:
            takers = self._takers_once_more()
        for slot in (first, *preferred):
            if slot == own and not leaves:
                return None
            if slot in takers:
                return slot
        return None

    def _anyone(self) -> int | None:
        """Return the slot of any worker, each with the same chance; None for this one."""
        slots = [*self._siblings.takers(self._now(), self._patience), None]
        return slots[int(chance() * len(slots))]

    def _takers_once_more(self) -> set[int]:
        """Return the slots in which connections are taken, after a first look has missed one."""
        # Rows are read one after the other. A successor that was not told to serve when its row was read may have been
        # when that of the worker before it is, which was told to leave after that.
        takers = self._siblings.takers(self._now(), self._patience)
        # During an upgrade the scoreboard shows the workers of one of two supervisors, and each slot has one of these.
        shared = self._area.shared
        return takers.union(slot for slot in self._siblings.slots if slot < shared) if shared else takers

    def put(self, slot: int, parcel: Parcel) -> bool:
        """Pass a connection on to the worker of a slot; answers whether it was taken. The caller closes its copy."""
        return self._siblings.put(slot, parcel)

    def ticket(self, scope: Scope) -> bytes | None:
        """Return the value of the cookie for the client of a request; None if the client is to get none.

        It gets one if the server's own cookie is the first that could have given its request a key, and there are
        several workers.
        """
        for read, rule in self._readers:
            key = read(scope)
            if rule.is_own_cookie and key is None:
                return self._ticket if len(self._siblings.slots) > 1 else None
            if key is not None:
                return None
        return None

    def bind(self, value: str | bytes) -> None:
        """Bind a value to this worker: requests with it in a cookie, field or part of the query are served here.

        The rules of `--sticky` say in which ones. The successor of this worker inherits the value, and a binding that
        is made later counts more. Any thread may call this. Raises as `as_key` does.
        """
        self._area.bind(rendezvous.digest(self._secret, as_key(value)), self._siblings.slot, self._now())

    def _is_own(self, value: bytes) -> bool:
        """Whether the server has made this value of its cookie."""
        return rendezvous.slot_of(self._secret, value, ROWS) is not None

    def _owners(self, scope: Scope) -> tuple[int | None, tuple[int, ...]]:
        """Return the slot to which a request is tied, if it is, and those that its key prefers, in their order.

        The latter are none if it has no key.
        """
        for read, rule in self._readers:
            key = read(scope)
            if key is None:
                continue
            if rule.source == "ip":
                prefer = self._remembered_of_address if len(key) <= _SHORT else _find_for_address
                return None, prefer(self._secret, key, self._siblings.slots)
            named = rendezvous.slot_of(self._secret, key, ROWS) if rule.is_own_cookie else None
            find = self._remembered if len(key) <= _SHORT else _find
            digest, preferred = find(self._secret, key, self._siblings.slots)
            return (self._area.bound(digest) if rule.name else named), preferred
        return None, ()


def _find(secret: bytes, key: bytes, slots: tuple[int, ...]) -> tuple[bytes, tuple[int, ...]]:
    """Return the digest of a key, and the slots that it prefers."""
    digest = rendezvous.digest(secret, key)
    return digest, rendezvous.preference(digest, slots)


def _find_for_address(secret: bytes, key: bytes, slots: tuple[int, ...]) -> tuple[int, ...]:
    """Return the slots that the address of a client prefers, in the order in which the kernel has them, too.

    A zone is no part of an address, and one of IPv4 that is mapped into IPv6 (RFC 4291, 2.5.5.2) is that of IPv4. What
    is no address, as a proxy may name one, prefers slots as any other key does.
    """
    text = key.partition(b"%")[0].decode("latin-1")
    try:
        address = socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):  # ValueError: text with a NUL
        return _find(secret, key, slots)[1]
    return address_choice.preference(secret, address.removeprefix(_MAPPED), slots)
