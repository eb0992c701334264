"""Units of systemd for a service: the texts of its service and socket files. Pure."""

import re
from collections.abc import Collection, Sequence
from posixpath import dirname, join

from corehttp.bind_option import (
    PROXY_PROTOCOL,
    AbstractPlace,
    Place,
    TCPPlace,
    UnixPlace,
    WorkerPlace,
    places,
    proxy_words,
)
from corehttp.config import Config
from corehttp.option_kinds import OPEN_TO_ALL, split_address
from corehttp.records import record, values

# The flags that say where a service listens, of which each takes a value: a socket unit says it in their place.
_ADDRESS_FLAGS = frozenset({"--bind", "-b", "--host", "--port", "--uds", "--fd", "--uds-permissions", "--uds-owner"})
# The flags whose values settings of the unit have, which are in force before anything of corehttp runs.
_PROCESS_FLAGS = frozenset({"--user", "--group", "--umask", "--chdir"})
ADDRESS_OPTIONS = ("bind", "host", "port", "uds", "fd", "uds_permissions", "uds_owner")
_HOMES = ("/home/", "/root/", "/run/user/")
_BEFORE_253 = (
    "# systemd before 253 leaves the next line out; there `systemctl reload` needs ExecReload=/bin/kill -HUP $MAINPID"
)
_HARDENING = """\
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native"""


@record
class Installation:
    """Where a service runs, and how it is started."""

    program: tuple[str, ...]  # the command without its arguments: paths that begin with /, and flags
    directory: str  # where it starts
    user: str  # the user that it runs as; empty for one that systemd makes for it
    variables: tuple[str, ...] = ()  # the variables of the environment that give options, which the unit does not have


def can_be_activated(config: Config) -> bool:
    """Whether a socket unit can say where the service listens: in addresses and paths, and no port that is any.

    Which of its sockets are to redirect, or to expect PROXY headers, it could not say.
    """
    is_alike = len({*proxy_words(config.bind, config.proxy_protocol)}) == 1
    return (
        is_alike
        and not config.redirect_http
        and all(
            isinstance(place, AbstractPlace)
            or (isinstance(place, TCPPlace) and place.port and (not place.host or _is_numeric(place.host)))
            or (isinstance(place, UnixPlace) and place.path[:1] == "/")
            for place in places(values(config))
        )
    )


def service_unit(name: str, config: Config, words: Sequence[str], where: Installation, *, activated: bool) -> str:
    """Return the text of NAME.service. `words` are the arguments of the command.

    With `activated` the socket unit has the sockets of the service, so that it needs no privilege for a low port.
    """
    user = config.user or where.user
    stop = config.shutdown_delay + config.timeout_graceful_shutdown + config.timeout_lifespan_shutdown
    command = (*where.program, *_arguments(config, words, activated=activated))
    lines = [
        *("[Unit]", f"Description={name} (corehttp)", "After=network-online.target", "Wants=network-online.target"),
        *([f"Requires={name}.socket"] if activated else []),
        *("", "[Service]", "Type=notify", _BEFORE_253),
        *("Type=notify-reload", f"ExecStart={' '.join(map(_quoted, command))}"),
        f"WorkingDirectory={where.directory.replace('%', '%%')}",
        *([f"User={user}"] if user else ["DynamicUser=yes"]),
        *([f"Group={config.group}"] if config.group else []),
        *(
            f"# {variable} is set where this was printed: name a file with it in EnvironmentFile="
            for variable in where.variables
        ),
        f"RuntimeDirectory={name}",
        *("KillMode=mixed", f"TimeoutStartSec={max(90, config.timeout_worker_startup + 30):g}"),
        *(f"TimeoutStopSec={stop + config.timeout_exit + 5:g}", "WatchdogSec=30", "Restart=on-failure"),
        *("RestartPreventExitStatus=2 3", "LimitNOFILE=65536", ""),
        *_confinement(config, where, activated=activated),
        *("", "[Install]", "WantedBy=multi-user.target", ""),
    ]
    return "\n".join(lines)


def _arguments(config: Config, words: Sequence[str], *, activated: bool) -> list[str]:
    """Return the arguments of the command in the unit: without those for which the units have settings."""
    arguments = _without(_PROCESS_FLAGS, words)
    if not activated:
        return arguments
    word = proxy_words(config.bind, config.proxy_protocol)[0]
    rest = "" if word == config.proxy_protocol else f",{PROXY_PROTOCOL}={word}"
    return [*_without(_ADDRESS_FLAGS, arguments), "--bind", f"systemd:{rest}"]


def _confinement(config: Config, where: Installation, *, activated: bool) -> list[str]:
    """Return the lines that say what the service may not do, and which privileges and directories it has."""
    start = join(where.directory, config.chdir or "")
    written = sorted({dirname(join(start, path)) for path in _written(config, activated)})
    homes = any(f"{path}/".startswith(_HOMES) for path in (where.directory, start, *where.program))
    low = not activated and any(
        isinstance(place, TCPPlace | WorkerPlace) and 0 < place.port < 1024 for place in places(values(config))
    )
    capabilities = "CAP_NET_BIND_SERVICE" if low else ""
    return [
        *("# What the service may not do.", _HARDENING),
        f"UMask=0{config.umask or '027'}",
        f"ProtectHome={'read-only' if homes else 'yes'}",
        f"CapabilityBoundingSet={capabilities}",
        *([f"AmbientCapabilities={capabilities}"] if low else []),
        *([f"ReadWritePaths={' '.join(map(_quoted, written)).replace('$$', '$')}"] if written else []),
        "# Name here what else the application writes: ReadWritePaths=/srv/data",
    ]


def socket_unit(name: str, config: Config) -> str:
    """Return the text of NAME.socket, which has the sockets that `config` names."""
    listening = places(values(config))
    hosts = [place.host for place in listening if isinstance(place, TCPPlace)]
    # The setting is one for all sockets of a unit: beside one for IPv6 alone, all addresses take a socket more.
    is_split = "::" in hosts
    lines = ["[Unit]", f"Description=Sockets of {name} (corehttp)", "", "[Socket]"]
    lines += [f"ListenStream={stream}" for place in listening for stream in _streams(place, is_split=is_split)]
    if is_split or "" in hosts:
        lines.append(f"BindIPv6Only={'ipv6-only' if is_split else 'both'}")
    if any(isinstance(place, UnixPlace) for place in listening):
        lines.append(f"SocketMode=0{config.uds_permissions or OPEN_TO_ALL}")
        user, _, group = config.uds_owner.partition(":")
        lines += [f"SocketUser={user}"] * bool(user) + [f"SocketGroup={group}"] * bool(group)
    lines += [f"Backlog={config.backlog}", "NoDelay=yes", "", "[Install]", "WantedBy=sockets.target", ""]
    return "\n".join(lines)


def _streams(place: Place, *, is_split: bool) -> list[str]:
    """Return the values of ListenStream= for a place; `is_split`: a socket of IPv6 takes no clients of IPv4."""
    match place:
        case TCPPlace("", port) if is_split:
            return [f"[::]:{port}", f"0.0.0.0:{port}"]
        case _:
            return [_stream(place)]


def _stream(place: Place) -> str:
    """Return an address as ListenStream= has it (systemd.socket(5))."""
    match place:
        case TCPPlace("", port):
            return str(port)
        case TCPPlace(host, port):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case UnixPlace(path):
            return path.replace("%", "%%")
        case AbstractPlace(name):
            return f"@{name}".replace("%", "%%")
        case _:
            raise ValueError(f"{place} is no address of a socket unit")


def _is_numeric(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", host) is not None


def _without(flags: Collection[str], words: Sequence[str]) -> list[str]:
    """Return the arguments of a command without these flags, of which each takes a value."""
    rest: list[str] = []
    given = iter(words)
    for word in given:
        flag, equals, _ = word.partition("=")
        if flag in flags:
            if not equals:
                next(given, "")
        elif not ("-b" in flags and word.startswith("-b") and len(word) > 2):
            rest.append(word)
    return rest


def _written(config: Config, activated: bool) -> list[str]:
    """Return the paths of the files and sockets that the server makes; that of a directory ends with a slash."""
    paths = [config.log_file, config.access_log_file, config.pid]
    if config.control not in ("auto", "off"):
        paths.append(config.control)
    if config.admin and isinstance(path := split_address(config.admin), str):
        paths.append(path)
    if config.prometheus_multiproc is not None:
        paths.append(join(config.prometheus_multiproc, ""))
    if not activated:
        paths += [place.path for place in places(values(config)) if isinstance(place, UnixPlace)]
    return [path for path in paths if path]


def _quoted(word: str) -> str:
    """Return a word as a command line of a unit has it (systemd.service(5), "Command lines")."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return text if re.fullmatch(r"[\w@%+=:,./$-]+", text) else f'"{text}"'
