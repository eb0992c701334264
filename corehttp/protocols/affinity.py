"""The contract with what decides which worker serves a request (`--sticky`). Pure."""

from typing import Protocol

from corehttp.asgi import Scope
from corehttp.ipc.parcel import Parcel


class ClientConnection(Protocol):
    """The connection over which requests come, as far as it says whose they are."""

    is_shared: bool  # whether a request that is tied to a worker has come over it, so that one that is not is another's


class Affinity(Protocol):
    """Says which worker of the service is to serve a request, and passes a connection on to that worker."""

    def elsewhere(self, scope: Scope, connection: ClientConnection | None = None) -> int | None:
        """Return the slot of the worker that is to serve the request of `scope`; None if this worker is to.

        It notes whether `connection`, if that is given, is shared.
        """
        ...

    def put(self, slot: int, parcel: Parcel) -> bool:
        """Pass a connection on to the worker of a slot; answers whether it was taken. The caller closes its copy."""
        ...
