"""The messages between supervisor, workers and templates: what each says, who may send it and how often. Pure.

`message_stream` makes bytes of them, and messages of bytes.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Generic, TypeVar

from corehttp.ipc.shapes import are_numbers, are_paths, is_path, is_pid, is_table, is_text, is_whole
from corehttp.records import field_names, record

# The version of all messages and of the scoreboard's layout. The boot message carries it, since the package may be
# replaced while its supervisor runs.
VERSION = 8

WORKER_PID = "COREHTTP_WORKER_PID"  # the variable in which each worker tells its process id to what it starts


class LeaveReason(Enum):
    """Why a worker is to leave."""

    STOP = "stop"  # the whole service ends
    REPLACED = "replaced"  # another worker has the slot of this one, or will have it
    SLOT_CLOSES = "slot closes"  # fewer workers are wanted
    ORPHANED = "orphaned"  # the supervisor is gone; another one may serve on the same sockets


# What the supervisor sends.


@record
class Seat:
    """The part of a boot message that is for one worker alone."""

    slot: int  # the number of the worker's slot, from 0
    row: int  # the number of the worker's row in the scoreboard
    # For each descriptor of a listening socket that goes with the message, the number of its endpoint. The descriptors
    # of the worker's inbox and of the scoreboard follow.
    endpoints: tuple[int, ...]
    shared: bool  # whether all slots have the same listening sockets
    number: int = 0  # the number of the process, which no other worker of the service ever gets
    generation: int = 1
    # How many descriptors of mailboxes follow those of inbox and scoreboard: that of its own, then those of others.
    mailboxes: int = 0
    node: int = 0  # a random number that tells this service from the same one on other machines
    anothers: tuple[int, ...] = ()  # the endpoints whose sockets belong to the program that has started the service
    # The numbers of the endpoints that the options give, in their order. During a reload there are others, too.
    named: tuple[int, ...] = ()


@record
class Boot:
    """To every child, as the first message: what to load and to serve."""

    version: int  # VERSION in the supervisor; a child of another version ends
    config: dict[str, object]  # the fields of `config.Config`
    directory: str  # the working directory to change to
    path: list[str]  # what sys.path is to be
    argv: list[str]  # what sys.argv is to be
    seat: Seat | None = None  # what only this worker is told; None for a template, which serves nothing itself


@record
class Serve:
    """To a worker that is ready: its sockets listen, so it is to accept connections."""


@record
class Leave:
    """To a worker that serves: finish what is in flight, then end."""

    reason: LeaveReason


@record
class Inboxes:
    """To a worker that serves: with the message go descriptors through which other workers are passed connections."""

    slots: tuple[int, ...]  # the numbers of the slots whose inboxes they are, in the order of the descriptors


@record
class Reopen:
    """To a worker that serves, which answers Reopened, and to a template: open log files anew that were renamed."""


@record
class Lead:
    """To a worker that serves: it leads from now on."""


@record
class StepDown:
    """To a worker that leads: end what runs because of that; then SteppedDown is the answer."""


@record
class Fork:
    """To a template: fork a worker. With the message goes the descriptor of the worker's end of a channel."""


@record
class Answer:
    """To the admin child, for an Ask: what an operator who asks the same is told, or its `fault` and `reason`."""

    number: int  # that of the Ask
    content: dict[str, object]


@record
class WatchSince:
    """To the child that watches files, after Boot: what has changed from this moment on is news, too."""

    moment: int  # nanoseconds since the epoch


# What workers, templates, the admin child and the child that watches files send.


@record
class Ready:
    """From a worker or the admin child: it is ready to serve. From a template: it has loaded the application."""


@record
class StartFailed:
    """From a child that ends then: why it cannot start."""

    message: str  # one line for the operator
    traceback: str  # the traceback of the exception that was the cause; empty if there was none


@record
class Closed:
    """From a worker that leaves: it has stopped accepting, and has closed its copies of the listening sockets."""


@record
class Drained:
    """From a worker that leaves: nothing is in flight any more, and its lifespan shutdown begins."""


@record
class Forked:
    """From a template, as an answer to Fork: there is a new worker."""

    pid: int  # the process id of the worker


@record
class NotForked:
    """From a template, as an answer to Fork: there is no new worker."""

    reason: str  # why, in words for the operator


@record
class Retire:
    """From a worker that serves: it wants to be replaced."""

    cause: str  # why, in words for the operator


@record
class Reopened:
    """From a worker, as an answer to Reopen: its next line goes to where the paths of the log files lead."""

    fault: str  # why that is not so, in words for the operator; empty if it is


@record
class SteppedDown:
    """From a worker, as an answer to StepDown: nothing runs any more that is for the leader alone."""


@record
class Ask:
    """From the admin child: a verb of operators. Answer follows, and allows another Ask."""

    number: int  # chosen by the child
    verb: str
    arguments: dict[str, object]


@record
class Changed:
    """From the child that watches files: some have changed, so that the code is to be taken anew."""

    what: str  # which files, in words for the operator


FromSupervisor = Boot | Serve | Leave | Inboxes | Reopen | Lead | StepDown | Fork | Answer | WatchSince
FromChild = (
    Ready | StartFailed | Closed | Drained | Forked | NotForked | Retire | Reopened | SteppedDown | Ask | Changed
)
M = TypeVar("M")


def _is_reason(value: object) -> bool:
    return value in [reason.value for reason in LeaveReason]


def _is_seat(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, tuple) or len(value) != len(field_names(Seat)):
        return False
    slot, row, endpoints, shared, *numbers, anothers, named = value
    places = is_whole(slot) and is_whole(row) and are_numbers(endpoints) and isinstance(shared, bool)
    return places and all(map(is_whole, numbers)) and are_numbers(anothers) and are_numbers(named)


@record
class Kind(Generic[M]):
    """How a message of one kind is checked and made."""

    cls: type[M]  # the class of the message
    shape: tuple[Callable[[object], bool], ...] = ()  # for each field, whether a value that was sent can be that field
    make: Callable[..., M] | None = None  # makes the message of the values of its fields; None: the class itself does


def _make_boot(
    version: int,
    config: dict[str, object],
    directory: str,
    path: list[str],
    argv: list[str],
    seat: tuple[int, int, tuple[int, ...], bool, int, int, int, int] | None,
) -> Boot:
    return Boot(version, config, directory, path, argv, None if seat is None else Seat(*seat))


FROM_SUPERVISOR: Mapping[str, Kind[FromSupervisor]] = {
    "boot": Kind(Boot, (is_whole, is_table, is_path, are_paths, are_paths, _is_seat), _make_boot),
    "serve": Kind(Serve),
    "leave": Kind(Leave, (_is_reason,), lambda reason: Leave(LeaveReason(reason))),
    "inboxes": Kind(Inboxes, (are_numbers,)),
    "reopen": Kind(Reopen),
    "lead": Kind(Lead),
    "step down": Kind(StepDown),
    "fork": Kind(Fork),
    "answer": Kind(Answer, (is_whole, is_table)),
    "watch since": Kind(WatchSince, (is_whole,)),
}
FROM_CHILD: Mapping[str, Kind[FromChild]] = {
    "ready": Kind(Ready),
    "failed": Kind(StartFailed, (is_text, is_text)),
    "closed": Kind(Closed),
    "drained": Kind(Drained),
    "forked": Kind(Forked, (is_pid,)),
    "not forked": Kind(NotForked, (is_text,)),
    "retire": Kind(Retire, (is_text,)),
    "reopened": Kind(Reopened, (is_text,)),
    "stepped down": Kind(SteppedDown),
    "ask": Kind(Ask, (is_whole, is_text, is_table)),
    "changed": Kind(Changed, (is_text,)),
}
# How often a child may send a message of each kind, so that no child can keep the supervisor busy. `Parser.expect`
# allows one more.
ALLOWED_OF_CHILD: Mapping[type[FromChild], int] = {
    **dict.fromkeys((kind.cls for kind in FROM_CHILD.values()), 1),
    Forked: 0,
    NotForked: 0,
    Reopened: 0,
    SteppedDown: 0,
    Ask: 0,
    Changed: 0,
}
NAMES: Mapping[type, str] = {kind.cls: name for kinds in (FROM_SUPERVISOR, FROM_CHILD) for name, kind in kinds.items()}
