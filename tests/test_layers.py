"""Every module has its layer, and imports only point down (ARCHITECTURE.md, "Layers")."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "corehttp"

LAYERS = (
    # 0: the vocabulary, and packages that hold nothing but modules
    {
        *("asgi", "errors", "farewell", "moments", "records", "shortage", "text", "trace_ids", "tracebacks", "version"),
        *("admin", "contrib", "control", "control.verb_names", "patterns", "tls", "watching"),
        *("ipc", "protocols", "protocols.http1", "protocols.websocket", "sockets", "supervisor"),
    },
    # 1: the pure core
    {
        *("admin.content", "admin.guard", "admin.probes"),
        *("log_config_option", "settled", "sourced_options", "tls.settings", "tls_options"),
        *("access_format", "arguments", "config", "environment", "option_conflicts", "option_kinds", "option_sources"),
        "windows_options",
        "garbage",
        *("loopback", "option", "option_groups", "option_values", "proxy_options", "sticky_option", "unknown_options"),
        *("sockets.address_choice", "sticky_addresses"),
        *("migration", "migration.fastapi", "migration.flags", "migration.gunicorn", "migration.tables"),
        "migration.uvicorn",
        *("bind_option", "bus.backlog", "bus.envelope", "bus.outbox", "bus_url", "contrib.pieces", "ipc.bus_frames"),
        *(
            "migration.command_line",
            "migration.commands",
            "migration.ecosystem",
            "migration.gunicorn_file",
            "migration.javascript",
        ),
        "migration.translation",
        *("control.log_lines", "control.messages", "control.naming", "control.reports", "control.tables"),
        *(
            "ipc.balance",
            "ipc.codec",
            "ipc.counters",
            "ipc.message_stream",
            "ipc.messages",
            "ipc.polling",
            "ipc.shapes",
        ),
        *("protocols.answers", "protocols.causes", "protocols.contracts", "protocols.fields", "protocols.limits"),
        *(
            "ipc.parcel",
            "protocols.entrance",
            "protocols.leaving",
            "protocols.observers",
            "protocols.peer",
            "protocols.progress",
        ),
        *(
            "protocols.forwarded",
            "protocols.field_names",
            "protocols.networks",
            "protocols.proxy_protocol",
            "protocols.response_fields",
        ),
        *("protocols.http1.chunked", "protocols.http1.framing", "protocols.http1.head", "protocols.http1.semantics"),
        *("protocols.http1.known_head", "protocols.networks"),
        *("ipc.rendezvous", "protocols.affinity", "protocols.sticky_keys", "worker.sticky_hint"),
        *("protocols.http1.state", "protocols.http1.wire", "protocols.scope"),
        *("protocols.websocket.deflation", "protocols.websocket.frame_reader", "protocols.websocket.frames"),
        *("protocols.websocket.handshake", "protocols.websocket.inflation", "protocols.websocket.masking"),
        "protocols.websocket.opening",
        *("tls.certificate", "tls.expiry", "tls.server_names"),
        *(
            "supervisor.appointments",
            "supervisor.notices",
            "units",
            "watching.selection",
            "worker.shutdown_times",
            "worker.told_options",
        ),
        *("supervisor.actions", "supervisor.commands", "supervisor.deadlines", "supervisor.events", "supervisor.fleet"),
        *("supervisor.history", "supervisor.observe", "supervisor.plan", "supervisor.waits"),
    },
    # 2: the ASGI side
    {
        *(
            "worker.debug_exceptions",
            "worker.redirects",
            "admin.pages",
            "app",
            "interface",
            "worker.lifespan",
            "wsgi",
            "wsgi_body",
        ),
        *("bus.calls", "bus.message", "bus.subscription", "bus.transport", "worker.redirects"),
        *("protocols.admission", "protocols.application_tasks", "protocols.exchange", "protocols.extensions"),
        *("protocols.sticky_cookie", "protocols.waiting"),
        *("protocols.fairness", "protocols.http1.incoming_body", "protocols.websocket.contracts"),
        *("protocols.websocket.session", "protocols.websocket.wakeup"),
    },
    # 3: I/O
    {
        *("admin.app_metrics", "admin.dashboard", "admin.recorder", "admin.snapshot", "admin.stream"),
        *("admin.supervisor_link", "chance", "metrics_directory"),
        *(
            "bus",
            "bus.fleet",
            "bus.hub",
            "bus.hubs",
            "bus.mesh",
            "bus.peer",
            "bus.redis_wire",
            "ipc.mailbox",
            "membership",
        ),
        *("contrib.channels", "contrib.socketio"),
        *("worker", "worker.leading", "worker.mail_watch"),
        *("cpus", "forks", "line_writer", "log_file", "input_files", "log_paths", "log_rotation", "pid_file", "logs"),
        *("standard_streams", "unused_signals"),
        *("control.access", "control.client", "control.connection", "control.control_socket"),
        "control.log_reader",
        *("control.process_figures", "control.server", "control.services", "control.socket_path"),
        *("ipc.channel", "ipc.handed_socket", "ipc.handover", "ipc.page", "ipc.scoreboard", "ipc.stack_area"),
        *("ipc.memory_file", "ipc.sticky_area"),
        *("accounts", "privileges", "windows", "worker.event_loop", "worker.on_windows", "tls.contexts", "user_access"),
        "sockets.activation",
        *("sockets.accept_queue", "sockets.endpoint", "sockets.listening", "sockets.steering", "sockets.unix_path"),
        *("protocols.clock", "protocols.context", "protocols.disk", "protocols.file_reader", "protocols.files"),
        *(
            "protocols.access_records",
            "protocols.distrust",
            "protocols.outlet",
            "protocols.peer_socket",
            "protocols.tally",
            "protocols.tls_opening",
            "protocols.tls_session",
            "protocols.turn_end",
        ),
        *("protocols.http1.connection", "protocols.http1.parser_h11", "protocols.http1.parser_httptools"),
        *(
            "protocols.http1.host",
            "protocols.http1.inflow",
            "protocols.http1.reader",
            "protocols.http1.request_heads",
            "protocols.http1.sticky_reader",
        ),
        *("protocols.http1.refusal", "protocols.http1.sender", "protocols.http1.starting", "protocols.http1.turns"),
        *("protocols.http1.small_pieces", "protocols.http1.upgrade_answer", "protocols.http1.writer"),
        *("protocols.websocket.connection", "protocols.websocket.reader", "protocols.websocket.upgrade"),
        "protocols.websocket.writer",
        *("supervisor.deployment", "supervisor.generations", "supervisor.inheritance", "supervisor.leftovers"),
        *(
            "supervisor.admin_child",
            "supervisor.binds",
            "supervisor.service_manager",
            "supervisor.admin_sockets",
            "supervisor.aftermath",
            "supervisor.blocked_loops",
            "supervisor.children",
            "supervisor.file_watch",
            "supervisor.health",
            "supervisor.hearing",
            "supervisor.loop",
            "supervisor.mishaps",
        ),
        *("supervisor.operating_system", "supervisor.operator", "supervisor.operators", "supervisor.orders"),
        *("supervisor.perform", "supervisor.poller", "supervisor.options_in_force", "supervisor.stack_requests"),
        *(
            "supervisor.overview",
            "supervisor.interpreters",
            "supervisor.processes",
            "supervisor.rescuer",
            "supervisor.service",
            "supervisor.spare",
            "supervisor.status",
            "supervisor.world",
        ),
        *("supervisor.report", "supervisor.signals", "supervisor.slots", "supervisor.templates", "supervisor.upgrade"),
        "supervisor.port_groups",
        *("supervisor.log_files", "supervisor.sticky_secret", "supervisor.tls_sessions", "supervisor.workers"),
        *("ipc.tls_area", "tls.openssl", "tls.pem_files", "tls.renewal"),
        *("worker.acceptor", "worker.access_log", "worker.deadline_sweep", "worker.departure", "worker.drain"),
        *("worker.adoptions", "worker.proxy_opening", "worker.connection_protocols"),
        *(
            "worker.affinity",
            "worker.sticky_warning",
            "worker.certificates",
            "worker.counting",
            "worker.event_trace",
            "worker.exit_limit",
            "worker.held_bytes",
            "worker.kept_files",
            "worker.tls",
        ),
        *(
            "worker.loop_faults",
            "worker.machines",
            "worker.periodic",
            "worker.retirement",
            "worker.siblings",
            "worker.spreading",
            "worker.stacks",
            "worker.ticker",
        ),
        *("worker.timers", "worker.watchdog", "watching.places", "watching.polling", "watching.process"),
    },
    # 4: assembly; "" is the package itself
    {
        *(
            "",
            "__main__",
            "cli",
            "command",
            "systemd_units",
            "completion",
            "embed",
            "inspection",
            "installation",
            "server",
            "serving",
            "supervision",
        ),
        *("admin.application", "admin.exposition", "admin.metrics", "admin.process"),
        *("control.live", "control.log_view", "control.verbs", "migration.report"),
        *(
            "worker.__main__",
            "worker.alone",
            "worker.entrances",
            "worker.launch",
            "worker.process",
            "worker.template",
            "worker.wiring",
        ),
        *("worker.surroundings", "worker.worker"),
    },
)
# Packages, from below; `protocols`, `supervisor`, `control` do not import each other. What is none is a module of
# the root.
ORDER = {
    "": 0,
    "sockets": 1,
    "tls": 1,
    "migration": 1,
    "ipc": 2,
    "protocols": 3,
    "supervisor": 3,
    "control": 3,
    "bus": 3,
    "worker": 4,
    "contrib": 4,
    "admin": 5,
    "watching": 3,
}
LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}
# What the modules of a layer, and of those below it, do not import.
IMPURE = {"asyncio", "os", "socket", "signal", "time", "logging", "threading", "subprocess", "select", "selectors"}
FORBIDDEN = ({*IMPURE, "anyio"}, {*IMPURE, "anyio"}, {"socket", "select", "selectors", "anyio"}, {"anyio"}, set[str]())


@cache
def modules() -> dict[str, Path]:
    """Every module of corehttp by its name below the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def imports(path: Path) -> tuple[str, ...]:
    """What a module imports, in full, wherever the statement stands; those for the type checker too."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
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
    "module",
    [
        "admin_child",
        "children",
        "file_watch",
        "health",
        "hearing",
        "log_files",
        "loop",
        "operator",
        "operators",
        "orders",
        "overview",
        "perform",
        "report",
        "service",
        "spare",
        "stack_requests",
        "status",
        "templates",
        "tls_sessions",
        "workers",
    ],
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


def test_protocols_meet_in_what_they_share_and_nowhere_else() -> None:
    pairs = {
        (module, name)
        for module, path in modules().items()
        for name in own(path)
        if module.count(".") == name.count(".") == 2 and module.split(".")[1] != name.split(".")[1]
    }
    assert not pairs


def test_no_module_imports_itself_through_others() -> None:
    imported = {module: set(own(path)) - {module, ""} for module, path in modules().items()}

    def reached(start: str) -> set[str]:
        found, left = set[str](), [start]
        while left:
            new = imported[left.pop()] - found
            found |= new
            left += new
        return found

    assert not {module for module in imported if module in reached(module)}
