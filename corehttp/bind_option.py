"""The options that say on what a service listens: what each value of --bind means. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from corehttp.errors import ConfigError
from corehttp.option_kinds import OptionKind

# What may stand behind an address, and its values: which versions of a PROXY header are expected there.
PROXY_PROTOCOL = "proxy-protocol"
PROXY_VERSIONS = {
    "off": frozenset[int](),
    "v1": frozenset({1}),
    "v2": frozenset({2}),
    "auto": frozenset({1, 2}),
}

# What a port may end with: each worker listens on a port of its own, to which its number is added, from 1 on.
_EACH_WORKER = "+{worker}"
# How many workers a service can be scaled to, so that each can have a successor beside it while one at a time is
# replaced (`scoreboard.ROWS`).
MOST_WORKERS = 1000
_WILDCARDS = ("", "::")  # hosts that stand for all addresses of the machine, of both families


class TCPPlace(NamedTuple):
    """HOST:PORT. An empty host stands for all addresses of the machine; `places` tells which `::` does so, too."""

    host: str
    port: int


class WorkerPlace(NamedTuple):
    """HOST:PORT+{worker}, for each worker a port of its own: worker 1 has the one after PORT. The host as above."""

    host: str
    port: int


class UnixPlace(NamedTuple):
    """unix:PATH."""

    path: str


class AbstractPlace(NamedTuple):
    """unix:@NAME, a name of the abstract namespace of Linux (unix(7)), which has no path and no permissions."""

    name: str


class InheritedPlace(NamedTuple):
    """fd://N, a socket that the program that starts the service has made."""

    descriptor: int


class ActivatedPlace(NamedTuple):
    """systemd:NAME, the sockets with this name that systemd has made; all of them if the name is empty."""

    name: str


Place = TCPPlace | WorkerPlace | UnixPlace | AbstractPlace | InheritedPlace | ActivatedPlace


def parse_bind(text: str) -> Place:
    """Return where one value of --bind has the service listen. Raises ValueError for any other text."""
    text, _ = _split(text)
    address = text.removesuffix(_EACH_WORKER)
    if "{worker}" in address:
        raise ValueError
    if address != text:
        return WorkerPlace(*_host_and_port(address, low=1))
    if text.startswith("unix:@"):
        return AbstractPlace(_some(text.removeprefix("unix:@")))
    if text.startswith("unix:"):
        return UnixPlace(_some(re.sub("^//(?=/)", "", text.removeprefix("unix:"))))
    if text.startswith("fd://"):
        return InheritedPlace(_number(text.removeprefix("fd://"), 1048575))
    if text.startswith("systemd:"):
        return ActivatedPlace(text.removeprefix("systemd:"))
    return TCPPlace(*_host_and_port(text))


def _host_and_port(text: str, low: int = 0) -> tuple[str, int]:
    """Return the host and the port of HOST:PORT, with the port from `low` on. Raises ValueError for any other text."""
    parts = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^:\[\]/]*)):([0-9]{1,5})", text)
    if parts is None or int(parts[3]) < low:
        raise ValueError
    return parts[1] or parts[2] or "", _number(parts[3], 65535)


def bind_address(text: str) -> str:
    """Return the address of a value of --bind, without what is said of it. Raises ValueError for any other text."""
    return _split(text)[0]


def proxy_protocols(binds: Sequence[str], default: str) -> tuple[frozenset[int], ...]:
    """Return for each bind the versions of PROXY headers that are expected there, of which there may be none.

    Without a value of --bind there is one bind, that of the other options; those of --redirect-http do not count. A
    bind that does not say has those of `default`, the value of --proxy-protocol.
    """
    return tuple(PROXY_VERSIONS[word] for word in proxy_words(binds, default))


def endpoint_versions(binds: Sequence[str], default: str, count: int) -> tuple[frozenset[int], ...]:
    """Return for each of `count` endpoints which versions of PROXY headers are expected there, as `proxy_protocols`.

    The binds are the first endpoints. What redirects to https says nothing of headers, and expects those of the
    service, `default`.
    """
    expected = proxy_protocols(binds, default)
    return expected + proxy_protocols((), default) * (count - len(expected))


def proxy_words(binds: Sequence[str], default: str) -> tuple[str, ...]:
    """Return for each bind the value of --proxy-protocol that holds there, as `proxy_protocols` its versions."""
    words = [_split(text)[1] for text in binds] or [""]
    return tuple(word or default for word in words)


def _split(text: str) -> tuple[str, str]:
    """Return the address of a value of --bind, and the value of `,proxy-protocol=`, or empty text.

    Raises ValueError for anything else of this form behind an address.
    """
    parts = re.fullmatch(r"(.*?)(?:,([a-z-]+)=([A-Za-z0-9-]*))?", text, re.DOTALL)
    assert parts is not None, "any text has this form"
    address, name, value = parts.groups(default="")
    if name and (name != PROXY_PROTOCOL or value not in PROXY_VERSIONS):
        raise ValueError
    return address, value


def places(values: Mapping[str, Any]) -> tuple[Place, ...]:
    """Return where the values of all options, by name, have the service listen; the options for one bind are one place.

    Those of --redirect-http are the last ones. A bind to `::` has an empty host here: it stands for all addresses,
    unless another bind has 0.0.0.0 and the port.
    """
    own = tuple(map(parse_bind, values["bind"]))
    redirecting = tuple(map(parse_bind, values["redirect_http"]))
    given = (*own, *redirecting)
    if values["uds"] is not None:
        own = (UnixPlace(values["uds"]),)
    elif values["fd"] is not None:
        own = (InheritedPlace(values["fd"]),)
    elif own:
        own = tuple(_both_families(place, given) for place in own)
    else:
        own = (TCPPlace(values["host"], values["port"]),)
    return (*own, *(_both_families(place, given) for place in redirecting))


def _both_families(place: Place, given: tuple[Place, ...]) -> Place:
    """Return a place among the given ones, with an empty host if it is `::` and stands for IPv4, too."""
    match place:
        case TCPPlace("::", port) | WorkerPlace("::", port):
            # Places of two kinds may be equal tuples.
            beside = any(type(other) is type(place) and other == ("0.0.0.0", port) for other in given)
            return place if beside and port else place._replace(host="")
        case _:
            return place


def overlap(place: Place, other: Place) -> bool:
    """Whether two places have a port of an address in common, which would be served in two ways; 0 is many ports."""
    if not (isinstance(place, TCPPlace) and isinstance(other, TCPPlace)):
        return place == other and type(place) is type(other)
    hosts = {place.host, other.host}
    all_of_ipv4 = "0.0.0.0" in hosts and not any(":" in host for host in hosts)
    return 0 != place.port == other.port and (len(hosts) == 1 or "" in hosts or all_of_ipv4)


def check_binds(binds: Sequence[str], redirecting: Sequence[str]) -> None:
    """Raise ConfigError if two values of --bind or --redirect-http mean the same sockets, or one lacks ports."""
    seen: dict[tuple[type[Place], Place], tuple[str, str]] = {}
    given = [*(("bind", text) for text in binds), *(("redirect-http", text) for text in redirecting)]
    for option, text in given:
        place = parse_bind(text)
        if isinstance(place, WorkerPlace) and place.port + MOST_WORKERS > 65535:
            raise ConfigError(
                f"bind: {text} would lead to ports above 65535, since a service can have {MOST_WORKERS} workers: begin "
                f"at {65535 - MOST_WORKERS} or below"
            )
        if isinstance(place, TCPPlace | WorkerPlace) and place.host in _WILDCARDS:
            place = place._replace(host="")
        same = (type(place), place)
        if same in seen and not (isinstance(place, TCPPlace) and place.port == 0):
            first_option, first = seen[same]
            remedy = "give it once" if option == first_option else f"give {option} an address of its own"
            raise ConfigError(f"{first_option}: {first} and {text} are the same; {remedy}")
        seen[same] = (option, text)
    activated = [text for (kind, _), (_, text) in seen.items() if kind is ActivatedPlace]
    if len(activated) > 1 and "systemd:" in activated:
        raise ConfigError("bind: systemd: means all sockets of systemd; leave out the others that begin with it")


def _binds(value: object) -> tuple[str, ...]:
    """Return the values, of which text, as in the environment, has one in each line. Raises ValueError."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise ValueError
    binds = tuple(str.__str__(line).strip() for line in lines)
    for bind in binds:
        parse_bind(bind)
    return binds


def _plain_binds(value: object) -> tuple[str, ...]:
    """Return the values of binds that say nothing but an address of all workers. Raises ValueError."""
    binds = _binds(value)
    if any(bind_address(bind) != bind or isinstance(parse_bind(bind), WorkerPlace) for bind in binds):
        raise ValueError
    return binds


def _owner(value: object) -> str:
    """Return the owner of a path. Raises ValueError."""
    name = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
    if not isinstance(value, str) or re.fullmatch(f"|{name}|({name})?:{name}", value) is None:
        raise ValueError
    return str.__str__(value)


def _some(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError
    return text


def _number(text: str, high: int) -> int:
    if re.fullmatch("[0-9]{1,7}", text) is None or int(text) > high:
        raise ValueError
    return int(text)


BIND = OptionKind(
    _binds,
    "HOST:PORT, :PORT, [::]:PORT, unix:PATH, unix:@NAME, fd://N, systemd:NAME or HOST:PORT+{worker}, behind which may "
    f"stand ,{PROXY_PROTOCOL}= and {', '.join(PROXY_VERSIONS)} (for several, give it again, or one in each line)",
    is_list=True,
    placeholder="ADDRESS",
)
PLAIN_BIND = OptionKind(
    _plain_binds,
    "HOST:PORT, :PORT, [::]:PORT, unix:PATH, unix:@NAME, fd://N or systemd:NAME (for several, give the option again, "
    "or one in each line)",
    is_list=True,
    placeholder="ADDRESS",
)
OWNER = OptionKind(_owner, "USER, USER:GROUP or :GROUP, names or numbers", takes_nothing=True, placeholder="USER:GROUP")
