"""What operators ask over the control socket: who may, what follows, and what they are told of it."""

import logging
from collections.abc import Callable, Mapping
from functools import partial

from corehttp.cpus import available_cpus, count_workers, cpu_quota
from corehttp.errors import ConfigError, ExitCode
from corehttp.ipc.bus_frames import OPERATOR, checked_data, checked_topic, encode_publish
from corehttp.moments import NEVER
from corehttp.records import mutable_record
from corehttp.standard_streams import destination
from corehttp.supervisor import options_in_force, status
from corehttp.supervisor.commands import Asked, Command, Decision, Refusal, Restart, Scale
from corehttp.supervisor.events import Resized, RestartRequested
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.operator import ControlPoint, Operator
from corehttp.supervisor.overview import overview
from corehttp.supervisor.service import Service
from corehttp.supervisor.stack_requests import StackRequests
from corehttp.supervisor.waits import Done, Failed, ReloadWait, RestartWait, ScaleWait, Wait
from corehttp.text import counted
from corehttp.version import __version__

logger = logging.getLogger("corehttp.supervisor")

MISTAKE = "the service has failed to do that; its log says why"


@mutable_record
class _Waiting:
    """An operator who waits for the end of a change."""

    operator: Operator
    wait: Wait
    told: str = ""  # the last progress


class ArgumentError(ValueError):
    """A request cannot be understood; the text says why."""


class Operators:
    """Hears operators. `obey` does what a command leads to, and returns what was decided; it is the loop's."""

    def __init__(
        self, service: Service, name: str, control: ControlPoint | None, obey: Callable[[Asked, str], Decision]
    ) -> None:
        self._service = service
        self._name = name
        self._control = control
        self._obey = obey
        self._waiting: list[_Waiting] = []
        self._stopping: list[Operator] = []  # who waits for the end of everything
        self._listens = False
        self._stacks = StackRequests(service)
        self._looks: Mapping[str, Callable[[Operator], None]] = {
            "hello": lambda operator: operator.result(status.summary(service, name)),
            "status": lambda operator: operator.result(status.status(service, name)),
            "overview": lambda operator: operator.result(overview(service, name)),
            "requests": self._requests,
            "config": self._config,
            "stacks": self._ask_for_stacks,
            "logs": lambda operator: operator.result({"pid": service.world.pid, **self._log_places()}),
        }
        self._changes: Mapping[str, Callable[[Operator], None]] = {
            "reload": self._reload,
            "scale": self._scale,
            "restart": self._restart,
            "stop": self._stop,
            "reopen": self._reopen,
            "send": self._send,
        }

    def begin(self) -> None:
        """Listen from now on. A supervisor that takes over calls it when it is the one to be asked."""
        if self._control is not None and not self._listens:
            self._listens = True
            self._control.begin(self.hear)

    def due(self) -> float:
        """When to look at clients although nothing happens (seconds, monotonic)."""
        listening = self._control.due() if self._control is not None and self._listens else NEVER
        return min(listening, self._stacks.due())

    def look(self) -> None:
        """Tell those who wait how far it has come, and let go of clients that are too slow."""
        self._stacks.look()
        if self._control is None or not self._listens:
            return
        if self._service.upgrade.succeeded:
            self._control.hand_on()
        for waiting in tuple(self._waiting):
            if not survived(f"to tell {waiting.operator.who}", partial(self._tell, waiting)):
                waiting.operator.refuse("failed", MISTAKE)
                self._waiting.remove(waiting)
        self._control.look()

    def end(self, code: ExitCode | None) -> None:
        """Tell those who wait how everything has ended, and close the socket. `code` is None if nobody knows."""
        if self._control is None:
            return
        for operator in self._stopping:
            operator.result({"text": "stopped", "exit_code": None if code is None else int(code)})
        for waiting in tuple(self._waiting):
            survived(f"to tell {waiting.operator.who}", partial(self._tell, waiting))
            waiting.operator.refuse("failed", "the service has ended")
        self._control.end()

    def hear(self, operator: Operator) -> None:
        """Answer a request, or begin what it asks for. Nothing is raised, whatever the request is."""
        change = operator.verb in self._changes
        if operator.verb not in self._looks and not change:
            operator.refuse("usage", f"corehttp {__version__}, which serves here, knows no verb {operator.verb[:40]!r}")
        elif _expired(operator.arguments.get("expires"), self._service.world.wall_clock()):
            level = logging.INFO if change else logging.DEBUG
            logger.log(level, "control: %s by %s: passed over, not heard in time", operator.verb, operator.who)
            operator.refuse("late", "the request was not heard before the moment that its `expires` names")
        elif not operator.may(change=change):
            if change:
                logger.warning("control: %s by %s: refused, who may only look", operator.verb, operator.who)
            operator.refuse("forbidden", f"{operator.who} may not {'change' if change else 'look at'} this service")
        else:
            act = self._changes[operator.verb] if change else self._looks[operator.verb]
            if not survived(f"control: {operator.verb} by {operator.who}", partial(self._answer, operator, act)):
                operator.refuse("failed", MISTAKE)

    def _answer(self, operator: Operator, act: Callable[[Operator], None]) -> None:
        """Do what is asked for; a request that is wrong, or cannot be carried out, is refused with the reason."""
        try:
            _check_flags(operator.verb, operator.arguments)
            act(operator)
        except ArgumentError as error:
            operator.refuse("usage", str(error))
        except ConfigError as error:
            operator.refuse("failed", f"a reload would fail: {error}")

    def _log_places(self) -> dict[str, object]:
        """Return where the server's own lines go, and those of requests."""
        config = self._service.generations.config(self._service.fleet.generation)
        return {
            "log": _place(config.log_file, 2),
            "access": _place(config.access_log_file, 1) if config.access_log else {"kind": "off"},
        }

    def _requests(self, operator: Operator) -> None:
        slot = _slot(operator.arguments)
        if slot is not None and slot >= max(
            [self._service.fleet.size, *(one.slot + 1 for one in self._service.workers)]
        ):
            operator.refuse("refused", f"there is no worker {slot + 1}")
        else:
            operator.result({"requests": status.requests(self._service, slot)})

    def _config(self, operator: Operator) -> None:
        """Tell the options in force, or those that a reload would find changed."""
        generations, serving = self._service.generations, self._service.fleet.generation
        if operator.arguments.get("diff", False):
            operator.result({"generation": serving, "changes": options_in_force.changes(generations, serving)})
        else:
            operator.result({"generation": serving, "options": options_in_force.in_force(generations, serving)})

    def _ask_for_stacks(self, operator: Operator) -> None:
        slot = _slot(operator.arguments)
        if slot is None:
            raise ArgumentError("stacks needs `worker`, the number of a worker")
        self._stacks.ask(operator, slot)

    def _command(self, operator: Operator, command: Asked) -> Decision | None:
        """Do what is asked for, and say so in the log; None if it is refused, which the operator is told."""
        decision = self._obey(command, f"corehttp {operator.verb} by {operator.who}")
        if not isinstance(decision, Refusal):
            return decision
        operator.refuse("refused", decision.reason.removeprefix("ignored, ").replace("ignored", "refused"))
        return None

    def _reload(self, operator: Operator) -> None:
        if self._command(operator, Command.RELOAD) is not None:
            latest = self._service.fleet.latest
            self._wait(operator, ReloadWait(latest), f"generation {latest} is starting")

    def _scale(self, operator: Operator) -> None:
        amount, relative = operator.arguments.get("workers"), bool(operator.arguments.get("relative", False))
        if amount == "auto" and not relative:
            amount = count_workers("auto", available_cpus(), cpu_quota())[0]
        if type(amount) is not int:
            raise ArgumentError("scale needs `workers`, a whole number or auto, and may have `relative`, true or false")
        since = self._service.world.now()
        decision = self._command(operator, Scale(amount, relative))
        if isinstance(decision, Resized):
            size = decision.size
            self._wait(operator, ScaleWait(size, since), f"{counted(size, 'worker')} wanted")

    def _restart(self, operator: Operator) -> None:
        slot, since = _slot(operator.arguments), self._service.world.now()
        decision = self._command(operator, Restart(slot))
        if isinstance(decision, RestartRequested):
            slots = {worker: self._service.fleet.workers[worker].slot for worker in decision.workers}
            self._wait(operator, RestartWait(slots, since), f"{counted(len(slots), 'worker')} to replace")

    def _reopen(self, operator: Operator) -> None:
        if self._command(operator, Command.REOPEN) is not None:
            self._wait(operator, self._service.log_files.last, "log files are being opened anew")

    def _send(self, operator: Operator) -> None:
        """Put a message of an operator into the mailboxes of all workers that serve."""
        import binascii  # here, since a supervisor of which nobody wants that does without it

        topic, data = operator.arguments.get("topic"), operator.arguments.get("data")
        if not isinstance(topic, str) or not isinstance(data, str):
            raise ArgumentError("send needs `topic` and `data`, which is text in base64")
        try:
            content = checked_data(binascii.a2b_base64(data, strict_mode=True))
            frame = encode_publish(checked_topic(topic), content, OPERATOR)
        except ValueError as error:
            raise ArgumentError(str(error)) from error
        taken, of = self._service.workers.publish(frame)
        logger.info("corehttp send by %s: %s for the topic %.40r", operator.who, counted(len(content), "byte"), topic)
        operator.result({"text": f"{taken} of {counted(of, 'worker')} have it", "workers": taken, "of": of})

    def _stop(self, operator: Operator) -> None:
        self._command(operator, Command.FORCE if operator.arguments.get("now", False) else Command.STOP)
        if not operator.arguments.get("wait", True):
            operator.result({"text": "stopping"})
        else:
            operator.progress({"text": "stopping"})
            self._stopping.append(operator)

    def _wait(self, operator: Operator, wait: Wait, begun: str) -> None:
        """Have an operator wait for the end, unless the request says `"wait": false`."""
        if not operator.arguments.get("wait", True):
            operator.result({"text": begun})
            return
        operator.progress({"text": begun})
        self._waiting.append(_Waiting(operator, wait))

    def _tell(self, waiting: _Waiting) -> None:
        """Tell an operator who waits how far the change has come, or how it has ended."""
        operator, fleet = waiting.operator, self._service.fleet
        if not operator.gone:
            progress = waiting.wait.progress(fleet)
            if progress.text != waiting.told:
                waiting.told = progress.text
                operator.progress({"text": progress.text, "ready": progress.ready, "of": progress.of})
            match waiting.wait.outcome(fleet, self._service.history):
                case None:
                    return
                case Done(text):
                    operator.result({"text": text})
                case Failed(reason):
                    operator.refuse("failed", reason)
        self._waiting.remove(waiting)


def _check_flags(verb: str, arguments: Mapping[str, object]) -> None:
    """Raise ArgumentError if what is on or off is said in any other way than by true or false."""
    for name in ("wait", "now", "diff", "relative"):
        if type(arguments.get(name, False)) is not bool:
            raise ArgumentError(f"`{name}` of {verb} must be true or false")


def _expired(moment: object, now: float) -> bool:
    """Whether the moment is over after which nobody waits for an answer (both in seconds since the epoch)."""
    return isinstance(moment, int | float) and moment < now


def _place(path: str | None, fd: int) -> dict[str, str]:
    """Return where lines go that are for the file at `path`, or for the standard stream `fd` if that is None."""
    return {"kind": "file", "path": path} if path else destination(fd)


def _slot(arguments: Mapping[str, object]) -> int | None:
    """Return the slot that `worker` names, None for all. Raises ArgumentError."""
    worker = arguments.get("worker")
    if worker is None:
        return None
    if type(worker) is not int or worker < 1:
        raise ArgumentError("`worker` must be the number of a worker, from 1")
    return worker - 1
