"""Every module has its layer, and imports only point down (ARCHITECTURE.md, "Layers")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "corehttp"

LAYERS = (
    # 0: the vocabulary
    {
        "errors",
        "farewell",
        "shortage",
        "asgi",
        "text",
        "tracebacks",
        "version",
        "protocols",
        "protocols.stream",
        "supervisor",
    },
    # 1: the pure core
    {
        "config",
        "environment",
        "protocols.causes",
        "protocols.chunked",
        "protocols.framing",
        "protocols.head",
        "protocols.http1_state",
        "protocols.limits",
        "protocols.peer",
        "protocols.semantics",
        "protocols.wire",
        "protocols.ws_frames",
        "protocols.ws_handshake",
        "protocols.ws_inflation",
        "balance",
        "unknown_options",
        "supervisor.codec",
        "supervisor.deadlines",
        "supervisor.fleet",
        "supervisor.messages",
        "supervisor.plan",
        "supervisor.record",
    },
    # 2: the ASGI side
    {
        "protocols.application_tasks",
        "protocols.exchange",
        "protocols.extensions",
        "protocols.admission",
        "protocols.bell",
        "protocols.turns",
        "protocols.ws_session",
        "lifespan",
        "app",
    },
    # 3: I/O
    {
        "acceptor",
        "access_log",
        "alarm",
        "clock",
        "cpus",
        "drain",
        "forks",
        "exit_limit",
        "inbox",
        "line_writer",
        "listeners",
        "logs",
        "loop_faults",
        "periodic",
        "protocols.context",
        "protocols.disk",
        "protocols.files",
        "protocols.half_closed",
        "protocols.http1",
        "protocols.http1_reading",
        "protocols.http1_writing",
        "protocols.parser_h11",
        "protocols.parser_httptools",
        "protocols.websocket",
        "protocols.ws_writing",
        "retirement",
        "siblings",
        "standard_streams",
        "supervisor.channel",
        "supervisor.crew",
        "supervisor.deployment",
        "supervisor.generations",
        "supervisor.inheritance",
        "supervisor.leftovers",
        "supervisor.loop",
        "supervisor.mishaps",
        "supervisor.poller",
        "supervisor.processes",
        "supervisor.report",
        "supervisor.scoreboard",
        "supervisor.signals",
        "supervisor.orphans",
        "supervisor.slots",
        "supervisor.templates",
        "supervisor.upgrade",
        "sweep",
        "unused_signals",
        "watchdog",
    },
    # 4: assembly; "" is the package itself
    {
        *(
            "worker",
            "worker_process",
            "template_process",
            "launch",
            "embed",
            "server",
            "installation",
            "cli",
            "command",
        ),
        *("", "__main__"),
    },
)
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
# What the modules of a layer, and of those below it, do not import.
IMPURE = {"asyncio", "os", "socket", "signal", "time", "logging", "threading", "subprocess", "select", "selectors"}
FORBIDDEN = ({*IMPURE, "anyio"}, {*IMPURE, "anyio"}, {"socket", "select", "selectors", "anyio"}, {"anyio"}, set[str]())


def modules() -> dict[str, Path]:
    """Every module of corehttp by its name below the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(path: Path) -> Iterator[str]:
    """What a module imports, in full, wherever the statement stands; those for the type checker too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in below if name.removeprefix("corehttp.") in LAYER]
            yield from submodules
            if len(submodules) < len(below):
                yield node.module


def own(path: Path) -> Iterator[str]:
    """The modules of corehttp that a module imports."""
    for name in imports(path):
        if name.partition(".")[0] == "corehttp":
            yield name.removeprefix("corehttp").removeprefix(".")


def test_every_module_has_a_layer_and_every_name_is_a_module() -> None:
    assert set(modules()) == set(LAYER)
    assert sum(map(len, LAYERS)) == len(LAYER), "a module stands in two layers"


@pytest.mark.parametrize("module", sorted(LAYER))
def test_imports_point_down(module: str) -> None:
    above = [name for name in own(modules()[module]) if LAYER[name] > LAYER[module]]
    assert not above


@pytest.mark.parametrize("module", sorted(LAYER))
def test_a_layer_does_without_what_belongs_above_it(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(modules()[module])}
    assert not roots & FORBIDDEN[LAYER[module]]


@pytest.mark.parametrize(("here", "there"), [("protocols", "supervisor"), ("supervisor", "protocols")])
def test_protocols_and_supervisor_do_not_know_each_other(here: str, there: str) -> None:
    for module, path in modules().items():
        if module.partition(".")[0] == here:
            assert not [name for name in own(path) if name.partition(".")[0] == there], module
