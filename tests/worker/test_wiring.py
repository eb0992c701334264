"""Who reads which option: each is read by somebody, and in a worker by its wiring alone."""

import ast
from pathlib import Path

from corehttp.config import names

PACKAGE = Path(__file__).parents[2] / "corehttp"


def read_options(path: Path) -> set[str]:
    """The options that a module reads of a configuration, whatever it calls it: `config.port`, `self._config.port`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in names():
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            inside = path.stem == "config" and name == "self"
            if name.strip("_").endswith("config") or inside:
                found.add(node.attr)
    return found


READ = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): read
    for path in sorted(PACKAGE.rglob("*.py"))
    if (read := read_options(path))
}


def test_no_option_is_forgotten() -> None:
    assert set().union(*READ.values()) == names()


def test_in_a_worker_only_the_wiring_knows_options() -> None:
    assert {module for module in READ if module.partition(".")[0] in ("worker", "protocols", "ipc")} == {
        "worker.wiring"
    }


def test_what_only_workers_do_is_read_nowhere_else() -> None:
    # What the supervisor, or the composition of the service, has to know as well.
    shared = {"app", "app_dir", "fd", "limit_connections", "log_format", "log_level", "shutdown_delay"}
    # `config` compares options with each other.
    elsewhere = set().union(*(read for module, read in READ.items() if module not in ("config", "worker.wiring")))
    assert READ["worker.wiring"] & elsewhere == shared
