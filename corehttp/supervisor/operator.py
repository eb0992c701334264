"""An operator who asks the supervisor for something, and where operators connect: contracts."""

from collections.abc import Callable, Mapping
from typing import Protocol

JSONObject = dict[str, object]  # what JSON can hold


class Operator(Protocol):
    """One request of an operator. No call waits; once the operator has left, calls do nothing."""

    @property
    def verb(self) -> str:
        """What is asked for."""

    @property
    def arguments(self) -> Mapping[str, object]:
        """What comes with the verb. It is input: none of it was checked."""

    @property
    def who(self) -> str:
        """The user and the process that ask, for log lines."""

    @property
    def gone(self) -> bool:
        """Whether the operator has left, or has had the last line of the answer."""

    def may(self, *, change: bool) -> bool:
        """Whether the operator may change the service, or look at it."""

    def progress(self, content: Mapping[str, object]) -> None:
        """Tell how far the request has come."""

    def result(self, content: Mapping[str, object]) -> None:
        """Tell that the request is done, which ends it."""

    def refuse(self, fault: str, reason: str) -> None:
        """Tell why the request is not done, which ends it; `fault` as in `control.messages.Fault`."""


class ControlPoint(Protocol):
    """Where operators connect."""

    def begin(self, on_request: Callable[[Operator], object]) -> None:
        """Listen from now on, and call `on_request` with each request."""

    def due(self) -> float:
        """When `look` is to be called although nothing happens (seconds, monotonic); NEVER: not at all."""

    def look(self) -> None:
        """Do what is due."""

    def hand_on(self) -> None:
        """Accept nobody any more, since a successor does."""

    def end(self) -> None:
        """Close everything, and leave no path behind."""
