"""Real proxies before the server: nginx, HAProxy and Caddy, each with a port, files and a configuration of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.kit.ports import free_port
from tests.kit.programs import installed
from tests.kit.server_process import PATIENCE, until

ATTEMPTS = 5  # a port that is free may be taken by another process before the proxy has it
# What the proxies' own processes run as where the tests run as root: as in the packages of the distributions, somebody
# who owns nothing of the server's.
USER = "nobody"

# The address of a client on this machine that no proxy and no server has reason to trust.
STRANGER = "127.0.0.66"
# What it says of itself, and nobody is to believe.
SPOOFED = {
    "X-Forwarded-For": "203.0.113.66",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "666",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=203.0.113.66",
    "X-Real-IP": "203.0.113.66",
    "X_Forwarded_For": "203.0.113.66",
}

MakeConfig = Callable[[int, Path], str]  # the port to listen on at 127.0.0.1, a directory for files: the configuration


class Proxy:
    """A running proxy, in a session of its own; `directory` can be entered by every user."""

    def __init__(self, command: list[str], port: int, directory: Path) -> None:
        self._log = directory / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, "HOME": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.directory = directory

    @property
    def log(self) -> str:
        """What the proxy has written to its standard streams and its error log."""
        return self._log.read_text(errors="replace")

    def serves(self) -> bool:
        """Wait until the proxy accepts connections; false if it has ended instead."""

        def look() -> str:
            if self._process.poll() is not None:
                return "ended"
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
                return "serves"
            return ""

        return until(look, f"the proxy, whose log is:\n{self.log}") == "serves" and self._process.poll() is None

    def end(self) -> None:
        """Kill the proxy with all its processes, and remove its files."""
        pids = {self.pid}
        with contextlib.suppress(psutil.NoSuchProcess):
            pids |= {child.pid for child in psutil.Process(self.pid).children(recursive=True)}
        # At once: a master process that outlives one of its workers starts another one.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        until(lambda: not any(map(_runs, pids)), "the end of the proxy's processes")
        shutil.rmtree(self.directory)


class Proxies:
    """All proxies of a test: it starts them, and `end` ends them all."""

    def __init__(self) -> None:
        self._started: list[Proxy] = []

    def nginx(self, configure: MakeConfig) -> Proxy:
        """Start nginx; `configure` may use `nginx_config` around what goes into its http block."""
        return self._start(
            "nginx", configure, lambda program, path: [program, "-p", f"{path.parent}/", "-c", str(path)]
        )

    def haproxy(self, configure: MakeConfig) -> Proxy:
        """Start HAProxy, in the foreground."""
        return self._start("haproxy", configure, lambda program, file: [program, "-db", "-f", str(file)])

    def caddy(self, configure: MakeConfig) -> Proxy:
        """Start Caddy, whose configuration is a Caddyfile."""
        return self._start(
            "caddy", configure, lambda program, file: [program, "run", "--adapter", "caddyfile", "--config", str(file)]
        )

    def end(self) -> None:
        for proxy in self._started:
            proxy.end()

    def _start(self, name: str, configure: MakeConfig, command: Callable[[str, Path], list[str]]) -> Proxy:
        program = installed(name)
        said = ""
        for _ in range(ATTEMPTS):
            # Not in the directory of the test, which nobody but its owner may enter.
            directory = Path(tempfile.mkdtemp(prefix=f"corehttp-{name}-"))
            directory.chmod(0o755)
            port = free_port()
            path = directory / "configuration"
            path.write_text(configure(port, directory))
            proxy = Proxy(command(program, path), port, directory)
            if proxy.serves():
                self._started.append(proxy)
                return proxy
            said = proxy.log
            proxy.end()
        raise AssertionError(f"{name} does not start:\n{said}")


def nginx_config(http: str) -> str:
    """A whole configuration of nginx that touches nothing outside its directory; `http` is for its http block."""
    user = f"user {USER} {_group()};\n" if os.geteuid() == 0 else ""
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"    {name}_temp_path {name}_temp;\n" for name in paths)
    return (
        f"{user}daemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr warn;\n"
        f"events {{ worker_connections 1024; }}\nhttp {{\n    access_log off;\n{temporary}{http}\n}}\n"
    )


def haproxy_config(rest: str) -> str:
    """A whole configuration of HAProxy that touches nothing outside its directory; `rest` follows the defaults."""
    user = f"    user {USER}\n    group {_group()}\n" if os.geteuid() == 0 else ""
    return (
        f"global\n    maxconn 1024\n    log stdout format raw local0 warning\n{user}"
        "defaults\n    mode http\n    log global\n    timeout connect 5s\n    timeout client 60s\n"
        f"    timeout server 60s\n    timeout tunnel 60s\n{rest}\n"
    )


def caddy_config(sites: str) -> str:
    """A whole Caddyfile that asks for no certificates and touches nothing outside its directory."""
    return f"{{\n\tadmin off\n\tauto_https off\n}}\n{sites}\n"


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _group() -> str:
    """The group of nobody, whose name differs between distributions."""
    import grp
    import pwd

    return grp.getgrgid(pwd.getpwnam(USER).pw_gid).gr_name
