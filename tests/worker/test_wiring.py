"""Who reads which option: each is read by somebody, and in a worker by its wiring alone."""

import ast
from functools import cache
from pathlib import Path

from corehttp.config import names

PACKAGE = Path(__file__).parents[2] / "corehttp"


def read_options(path: Path) -> set[str]:
    """The options that a module reads of a configuration, whatever it calls it: `config.port`, `self._config.port`."""
    found, options = set(), names()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and node.attr in options:
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            inside = path.stem in ("config", "settled") and name == "self"
            if name.strip("_").endswith("config") or inside:
                found.add(node.attr)
    return found


@cache
def read_by_modules() -> dict[str, set[str]]:
    """The options that each module of the package reads; those that read none are left out."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): read
        for path in sorted(PACKAGE.rglob("*.py"))
        if (read := read_options(path))
    }


def test_no_option_is_forgotten() -> None:
    assert set().union(*read_by_modules().values()) == names()


def test_in_a_worker_only_the_wiring_knows_options() -> None:
    assert {module for module in read_by_modules() if module.partition(".")[0] in ("worker", "protocols", "ipc")} == {
        "worker.wiring"
    }


def test_what_only_workers_do_is_read_nowhere_else() -> None:
    # What the supervisor, or the composition of the service, has to know as well.
    shared = {"app", "app_dir", "limit_connections", "log_format", "log_level", "name", "shutdown_delay"}
    shared |= {"bind", "env_file", "log_config", "pid", "use_colors"}
    shared |= {"access_log", "access_log_file", "log_file", "prometheus_multiproc", "reload", "rescue_after", "workers"}
    # `config` and `settled` compare options with each other; the admin listener speaks HTTP as workers do; `units`
    # writes them down.
    besides = ("config", "settled", "worker.wiring", "admin.exposition", "admin.process", "units")
    elsewhere = set().union(*(read for module, read in read_by_modules().items() if module not in besides))
    assert read_by_modules()["worker.wiring"] & elsewhere == shared
