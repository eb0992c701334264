"""Composition of a supervised service: a configuration becomes sockets, a fleet of workers and their supervisor."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from corehttp import metrics_directory, pid_file
from corehttp.config import Config
from corehttp.control import access, control_socket
from corehttp.control.control_socket import ControlSocket
from corehttp.control.naming import default_name
from corehttp.control.server import ControlServer
from corehttp.cpus import AS_ASKED, available_cpus, count_workers, cpu_quota
from corehttp.errors import ConfigError, ExitCode, StartupError
from corehttp.ipc.sticky_area import share_inboxes
from corehttp.privileges import Privileges
from corehttp.shortage import shortage
from corehttp.sockets import listening, unix_path
from corehttp.sockets.endpoint import Endpoint, address_options, endpoints
from corehttp.supervisor import admin_sockets, upgrade
from corehttp.supervisor.admin_sockets import AdminSockets
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.inheritance import Inheritance
from corehttp.supervisor.loop import Supervisor
from corehttp.supervisor.operating_system import OperatingSystem
from corehttp.supervisor.service_manager import ServiceManager, service_manager
from corehttp.supervisor.slots import Slots
from corehttp.supervisor.sticky_secret import StickySecret
from corehttp.text import counted
from corehttp.version import __version__

logger = logging.getLogger("corehttp.supervisor")


def supervise(
    config: Config,
    read: Callable[[], Config],
    privileges: Privileges,
    origin: str = "",
    *,
    owns_process: bool,
    sources: Callable[[], Mapping[str, str]] = dict,
) -> ExitCode:
    """Serve with supervised workers until the end, and return the exit code.

    `read` reads the configuration afresh for a reload, and `sources` tells where each option was given that was found
    last. `privileges` are given up once all ports are bound. `origin` is as `Deployment` takes it. Raises ConfigError
    for an option that cannot be had on this system, and StartupError if the service cannot start.
    """
    rules = check_options(config)
    deployment = Deployment(origin)
    generations = Generations(config, read, deployment, sources=sources)
    count, reason = count_workers(config.workers, available_cpus(), cpu_quota())
    address = address_options(config)
    inherited, elder = upgrade.inherited(address), upgrade.elder()
    if config.prometheus_multiproc is not None:
        # The workers of a supervisor whose place this one takes go on to use the directory.
        metrics_directory.prepare(config.prometheus_multiproc, wipe=inherited is None)
    slots = _make_slots(config, count, inherited, privileges)
    _log_start(count, reason, slots)
    # With more sockets than workers, each socket needs a worker at first: to close it would reset who waits there.
    fleet = _make_fleet(config, max(count, len(slots)), generations, inherited)

    def on_ready() -> None:
        if inherited is not None:
            if config.pid is not None:
                pid_file.rewrite(config.pid)
            _take_over(inherited, supervisor, count, config)

    name = config.name or default_name(str(config.app), slots.listeners()[0][0])
    with (
        _closed_if_failed(slots),
        pid_file.kept(config.pid, later=inherited is not None),
        _control_socket(config, name, rules.group) as door,
        _admin_sockets(config, privileges) as admin,
        service_manager(os.environ, os.getpid(), keeps=not owns_process) as manager,
    ):
        try:
            privileges.drop()
            world = OperatingSystem(slots, owns_process=owns_process)
            upgrading = upgrade.Upgrade(address, deployment, more=lambda: _bequest(door, admin, manager, secret))
            supervisor = Supervisor(
                fleet,
                world,
                generations,
                upgrading,
                on_ready,
                name=name,
                control=ControlServer(door, rules, world) if door else None,
                admin=admin,
                takes_over=inherited is not None,
                elder=elder,
            )
            supervisor.report_to(manager)
            secret = StickySecret(supervisor.board)
            if inherited is not None:
                share_inboxes(supervisor.board.fd, len(inherited.slots))
        except OSError as error:
            raise StartupError(f"the supervisor cannot start: {shortage(error)}") from error
        return supervisor.run()


def _make_fleet(config: Config, size: int, generations: Generations, inherited: Inheritance | None) -> Fleet:
    """Return a fleet without workers, which wants `size` of them, with the limits of its first generation."""
    takes_over = inherited is not None and bool(inherited.slots)
    fleet = Fleet(size, preload=config.preload, handed_on=takes_over)
    generations.apply(fleet, fleet.generation)
    return fleet


def _take_over(inherited: Inheritance, supervisor: Supervisor, count: int, config: Config) -> None:
    """Tell the supervisor of before that it can leave, and serve with `count` workers as the only owner from now on."""
    takes_over = bool(inherited.slots)
    if takes_over:
        _permit(endpoints(config))
    upgrade.say_ready(inherited.ready, taken_over=takes_over)
    supervisor.take_over(count)


def check_options(config: Config) -> access.Rules:
    """Return who may use the control socket.

    Raises ConfigError for an option that cannot be had on this system, and for a group or directory that is missing.
    """
    if config.preload and sys.platform != "linux":
        raise ConfigError("preload needs Linux, where the supervisor can be the parent of what a template forks")
    for name in config.reload_dir if config.reload else ():
        if not os.path.isdir(name):
            raise ConfigError(f"reload-dir: there is no directory {name}")
    try:
        return access.rules(config.control_group)
    except LookupError as error:
        raise ConfigError(f"control-group: {error.args[0]}") from error


@contextlib.contextmanager
def _closed_if_failed(slots: Slots) -> Iterator[None]:
    """Close the slots if the service cannot start, so that the path of a unix socket does not stay behind."""
    try:
        yield
    except StartupError:
        slots.close_all()
        raise


@contextlib.contextmanager
def _control_socket(config: Config, name: str, group: int | None) -> Iterator[ControlSocket | None]:
    """Yield the control socket of the supervisor before this one if it suits the options, else a new one; release it.

    Yields None if there is to be none. Raises StartupError.
    """
    wish = (config.control, name, config.control_group)
    left = os.environ.pop(control_socket.VARIABLE, None)
    found = control_socket.inherited(left, wish) if left else None
    door = found or control_socket.open_for(config.control, name, os.environ, wish, group)
    try:
        yield door
    finally:
        if door:
            door.close()


@contextlib.contextmanager
def _admin_sockets(config: Config, privileges: Privileges) -> Iterator[AdminSockets | None]:
    """Yield the sockets of the admin listener, those of the supervisor before this one if there are any; close them.

    Yields None if there is to be no admin listener. Raises StartupError.
    """
    left = os.environ.pop(admin_sockets.VARIABLE, None)
    found = admin_sockets.inherited(left, config.admin) if left else None
    sockets = found or (admin_sockets.open_at(config.admin, privileges.taken) if config.admin else None)
    try:
        yield sockets
    finally:
        if sockets:
            sockets.close()


def _bequest(
    *legacies: ControlSocket | AdminSockets | ServiceManager | StickySecret | None,
) -> tuple[dict[str, str], list[int]]:
    """Return the variables and descriptors that a new supervisor inherits beside those of the service."""
    left = [legacy.bequeath() for legacy in legacies if legacy]
    variables = {name: text for some, _ in left for name, text in some.items()}
    return variables, [fd for _, fds in left for fd in fds]


def _make_slots(config: Config, count: int, inherited: Inheritance | None, privileges: Privileges) -> Slots:
    """Return slots for `count` workers: those that were inherited, and new ones where they are too few."""
    served = endpoints(config)
    if inherited is None or not inherited.slots:
        reuseport = _uses_reuseport(config, count)
        sockets = listening.bind(served, count, reuseport=reuseport, privileged=privileges.taken)
        return Slots.of(sockets, served, parting=_uses_reuseport(config, max(count, 2)))
    slots = Slots.adopt(inherited, served)
    slots.lend(True)
    for number in range(len(slots), count):
        slots.open(number)
    return slots


def _uses_reuseport(config: Config, workers: int) -> bool:
    """Whether each of several workers gets a socket of its own on the port (SO_REUSEPORT, socket(7)).

    With `socket` as "auto" none does where connections are limited: a worker can take over the clients that wait for
    another one only if both share a socket. With --user none does on a port that only root may bind either, since more
    workers could not bind it later.
    """
    if config.socket != "auto":
        return config.socket == "reuseport" and workers > 1
    ports = [endpoint.port for endpoint in endpoints(config) if endpoint.is_partable]
    is_closed = config.user is not None and any(map(listening.needs_privilege, ports))
    return workers > 1 and sys.platform == "linux" and bool(ports) and not config.limit_connections and not is_closed


def _log_start(count: int, reason: str, slots: Slots) -> None:
    """Log the first line of a service: its version and process, and how many workers it starts."""
    how = f" ({reason})" if reason != AS_ASKED else ""
    if count > 1 and all(endpoint.is_each_workers for endpoint in slots.served.values()):
        how += " on a port each"
    elif count > 1:
        how += " on one shared socket" if slots.shared else " on a socket each (SO_REUSEPORT)"
    logger.info("corehttp %s, pid %d: starting %s%s", __version__, os.getpid(), counted(count, "worker"), how)


def _permit(served: Iterable[Endpoint]) -> None:
    """Give the paths of inherited unix sockets the permissions that the options say.

    If somebody has removed such a path, the clients that are connected already are served all the same.
    """
    for endpoint in served:
        if endpoint.path:
            try:
                unix_path.permit(endpoint.path, endpoint.permissions, endpoint.owner)
            except StartupError as error:
                logger.warning("%s", error)
