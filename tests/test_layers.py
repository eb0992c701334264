"""Every module has its layer, and imports only point down (ARCHITECTURE.md, "Layers")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "corehttp"

LAYERS = (
    # 0: the vocabulary, and packages that hold nothing but modules
    {
        *("asgi", "errors", "farewell", "shortage", "text", "tracebacks", "version"),
        *("ipc", "protocols", "protocols.http1", "protocols.websocket", "sockets", "supervisor", "worker"),
    },
    # 1: the pure core
    {
        *("config", "environment", "option_kinds", "unknown_options"),
        *("ipc.balance", "ipc.codec", "ipc.messages"),
        *("protocols.answers", "protocols.causes", "protocols.contracts", "protocols.fields", "protocols.limits"),
        *("ipc.parcel", "protocols.observers", "protocols.peer", "protocols.progress"),
        "protocols.response_fields",
        *("protocols.http1.chunked", "protocols.http1.framing", "protocols.http1.head", "protocols.http1.semantics"),
        *("protocols.http1.state", "protocols.http1.wire", "protocols.scope"),
        *("protocols.websocket.deflation", "protocols.websocket.frame_reader", "protocols.websocket.frames"),
        *("protocols.websocket.handshake", "protocols.websocket.inflation", "protocols.websocket.masking"),
        "protocols.websocket.opening",
        *("supervisor.actions", "supervisor.commands", "supervisor.deadlines", "supervisor.events", "supervisor.fleet"),
        *("supervisor.observe", "supervisor.plan"),
    },
    # 2: the ASGI side
    {
        *("app", "worker.lifespan"),
        *("protocols.admission", "protocols.application_tasks", "protocols.exchange", "protocols.extensions"),
        *("protocols.fairness", "protocols.websocket.contracts", "protocols.websocket.session"),
        "protocols.websocket.wakeup",
    },
    # 3: I/O
    {
        *("cpus", "forks", "line_writer", "logs", "standard_streams", "unused_signals"),
        *("ipc.channel", "ipc.handover", "ipc.scoreboard"),
        *("sockets.accept_queue", "sockets.endpoint", "sockets.listening", "sockets.steering", "sockets.unix_path"),
        *("protocols.clock", "protocols.context", "protocols.disk", "protocols.file_reader", "protocols.files"),
        *("protocols.outlet", "protocols.peer_socket"),
        *("protocols.http1.connection", "protocols.http1.parser_h11", "protocols.http1.parser_httptools"),
        *("protocols.http1.reader", "protocols.http1.upgrade_answer", "protocols.http1.writer"),
        *("protocols.websocket.connection", "protocols.websocket.reader", "protocols.websocket.upgrade"),
        "protocols.websocket.writer",
        *("supervisor.deployment", "supervisor.generations", "supervisor.inheritance", "supervisor.leftovers"),
        *("supervisor.children", "supervisor.health", "supervisor.hearing", "supervisor.loop", "supervisor.mishaps"),
        *("supervisor.operating_system", "supervisor.orphans", "supervisor.perform", "supervisor.poller"),
        *("supervisor.processes", "supervisor.service", "supervisor.world"),
        *("supervisor.report", "supervisor.signals", "supervisor.slots", "supervisor.templates", "supervisor.upgrade"),
        "supervisor.workers",
        *("worker.acceptor", "worker.access_log", "worker.deadline_sweep", "worker.departure", "worker.drain"),
        *("worker.exit_limit", "worker.held_bytes"),
        *("worker.loop_faults", "worker.periodic", "worker.retirement", "worker.siblings", "worker.ticker"),
        *("worker.timers", "worker.watchdog"),
    },
    # 4: assembly; "" is the package itself
    {
        *("", "__main__", "cli", "command", "embed", "installation", "server"),
        *("worker.__main__", "worker.alone", "worker.launch", "worker.process", "worker.template", "worker.wiring"),
        "worker.worker",
    },
)
# Packages, from below; `protocols`, `supervisor` never import each other. What is none of them is a module of the root.
ORDER = {"": 0, "sockets": 1, "ipc": 2, "protocols": 3, "supervisor": 3, "worker": 4}
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


@pytest.mark.parametrize(
    "module", ["children", "health", "hearing", "loop", "perform", "report", "service", "templates", "workers"]
)
def test_the_loop_sees_the_system_only_through_its_world(module: str) -> None:
    roots = {name.partition(".")[0] for name in imports(modules()[f"supervisor.{module}"])}
    assert not roots & {"os", "random", "select", "socket", "subprocess", "threading", "time"}


def package(module: str) -> str:
    """The package of a module; "" for one in the root, and for the root itself."""
    root, _, rest = module.partition(".")
    return root if rest or (PACKAGE / root / "__init__.py").exists() else ""


def test_packages_import_only_those_below_them() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, path in modules().items()
        if package(module)
        for name in own(path)
        if package(name) != package(module) and ORDER[package(name)] >= ORDER[package(module)]
    ]
    assert not wrong


# To be mended: these pairs still know each other.
OPEN_PAIRS = set[tuple[str, str]]()
OPEN_CYCLES = set[str]()


def test_protocols_meet_in_what_they_share_and_nowhere_else() -> None:
    pairs = {
        (module, name)
        for module, path in modules().items()
        for name in own(path)
        if module.count(".") == name.count(".") == 2 and module.split(".")[1] != name.split(".")[1]
    }
    assert pairs == OPEN_PAIRS


def test_no_module_imports_itself_through_others() -> None:
    imported = {module: set(own(path)) - {module, ""} for module, path in modules().items()}

    def reached(start: str) -> set[str]:
        found, left = set[str](), [start]
        while left:
            new = imported[left.pop()] - found
            found |= new
            left += new
        return found

    assert {module for module in imported if module in reached(module)} == OPEN_CYCLES
