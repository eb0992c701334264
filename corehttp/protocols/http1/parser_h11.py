"""h11 behind the RequestParser contract: slower, pure Python, and a second opinion."""

import h11

from corehttp.asgi import Headers
from corehttp.errors import PeerError
from corehttp.protocols.http1.head import HeadScan, split_head
from corehttp.protocols.limits import Limits


class H11Parser:
    """Has h11 parse each head after a scan, since h11 takes more than we do."""

    __slots__ = ("_limits",)

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def parse(self, head: bytes) -> tuple[Headers, bool]:
        """The fields of a whole head, and True: a proxy's may be among them; raises PeerError."""
        HeadScan(self._limits).scan(head)
        connection = h11.Connection(h11.SERVER, len(head))
        try:
            connection.receive_data(head)
            request = connection.next_event()
        except h11.RemoteProtocolError as error:
            error.__traceback__ = None  # h11 has left a cycle of references in it
            raise PeerError(400, "the request cannot be parsed") from None
        if not isinstance(request, h11.Request):
            raise PeerError(400, "the request cannot be parsed")
        return split_head(head)[3], True  # h11's own fields are changed: of equal lengths it makes one

    def renew(self) -> None:
        """Do nothing: each head has a parser of its own."""
