"""Certificates of a service over TLS: which one is shown, how they are renewed, and who may connect."""

import contextlib
import json
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.tls.certificate import read_certificate
from tests.e2e.conftest import Start
from tests.kit.certificates import Authority
from tests.kit.meanwhile import again_and_again
from tests.kit.server_process import APP, PATIENCE, ServerProcess, until
from tests.kit.verbs import environment, told

pytestmark = pytest.mark.e2e

authority = Authority()


class Client:
    """A client that trusts the authority of these tests; its sessions can be resumed."""

    def __init__(self, server: ServerProcess, certificate: tuple[str, str] | None = None) -> None:
        self._port = server.port
        self._context = ssl.create_default_context(cadata=authority.pem.decode())
        self._context.check_hostname = False
        if certificate is not None:
            self._context.load_cert_chain(*certificate)
        self.session: ssl.SSLSession | None = None

    @contextlib.contextmanager
    def connected(self, name: str | None = None, *, resume: bool = False) -> Iterator[ssl.SSLSocket]:
        session = self.session if resume else None
        with (
            socket.create_connection(("127.0.0.1", self._port), PATIENCE) as sock,
            self._context.wrap_socket(sock, server_hostname=name, session=session) as connection,
        ):
            yield connection

    def get(self, connection: ssl.SSLSocket, path: str = "/who") -> str:
        """The body of a response."""
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: a.org\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more(connection)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += self._more(connection)
        self.session = connection.session
        return body.decode()

    def shown(self, name: str | None = None) -> tuple[str, ...]:
        """The names in the certificate that is shown, on a connection on which a request is answered."""
        with self.connected(name) as connection:
            self.get(connection)
            der = connection.getpeercert(binary_form=True)
            assert der is not None
            return read_certificate(ssl.DER_cert_to_PEM_cert(der).encode()).names

    def _more(self, connection: ssl.SSLSocket) -> bytes:
        data = connection.recv(65536)
        assert data, "the connection has ended"
        return data


class Mounted:
    """A directory in which Kubernetes shows a secret: it swaps one symbolic link for all of its files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        directory.mkdir()
        self.pair = (str(directory / "tls.crt"), str(directory / "tls.key"))
        for path in self.pair:
            os.symlink(f"..data/{os.path.basename(path)}", path)

    def show(self, *names: str, days: float = 90) -> None:
        self._number += 1
        authority.issue(*names, days=days).write(self._directory / f"..{self._number}")
        os.symlink(f"..{self._number}", self._directory / "..new")
        os.replace(self._directory / "..new", self._directory / "..data")


def test_new_certificates_are_served_while_requests_run(start: Start, tmp_path: Path, runtime: Path) -> None:
    secret = Mounted(tmp_path / "secret")
    secret.show("old.org", days=5.5)
    certificate, key = secret.pair
    server = start(
        *(*APP, "--workers", "2", "--ssl-certfile", certificate, "--ssl-keyfile", key, "--log-level", "debug"),
        env=environment(runtime),
    )
    client = Client(server)
    server.wait_for_log(r"WARNING .* the certificate for old.org in .*/tls.crt expires in 5 days")
    visitor = Client(server)
    answered: list[str] = []

    def visit() -> None:
        with visitor.connected() as connection:
            answered.extend(visitor.get(connection) for _ in range(2))

    with again_and_again(visit), client.connected() as kept:
        client.get(kept)
        assert client.shown() == ("old.org",)
        secret.show("new.org", days=90.5)
        server.wait_for_log("certificates are loaded anew: new.org until ", 2)  # by each worker
        assert {client.shown() for _ in range(6)} == {("new.org",)}
        client.get(kept)
        Path(os.path.realpath(certificate)).write_bytes(authority.issue("other.org").pem)
        server.signal(signal.SIGHUP)
        server.wait_for_log(r"the reload has failed, the old workers serve on: ssl-keyfile: \S+ is not the key of the")
        assert client.shown() == ("new.org",)
    assert answered
    os.kill(server.worker_pids()[0], signal.SIGKILL)  # the next worker finds the broken pair
    server.wait_for_log("is not the key of the certificate in .*; what was served before is served on")
    server.wait_for_log(r"worker \d \(pid \d+\) is ready")
    assert {client.shown() for _ in range(6)} == {("new.org",)}
    [shown] = told(runtime, "status")["certificates"]
    assert (shown["path"], shown["days"]) == (certificate, 90)
    assert server.stop() == 0


def test_each_name_has_its_certificate_and_sessions_are_resumed_by_any_worker(start: Start, tmp_path: Path) -> None:
    pairs = [authority.issue(*names).write(tmp_path, names[0]) for names in (("a.org",), ("b.org", "x.b.org"))]
    options = [word for pair in pairs for word in ("--ssl-certfile", pair[0], "--ssl-keyfile", pair[1])]
    server = start(*APP, "--workers", "2", *options)
    client = Client(server)
    assert [client.shown(name)[0] for name in ("b.org", "a.org", "X.B.org", "c.org", None)] == [
        *("b.org", "a.org", "b.org", "a.org", "a.org")
    ]
    seen = set()

    def both_have_answered() -> bool:
        with client.connected("a.org", resume=True) as connection:
            seen.add(json.loads(client.get(connection))["pid"])
            assert connection.session_reused
        return len(seen) == 2

    until(both_have_answered, "both workers to take a connection")


@pytest.mark.feature
def test_a_client_is_refused_from_when_its_certificate_is_revoked(start: Start, tmp_path: Path) -> None:
    certificate, key = authority.issue("a.org").write(tmp_path, "server")
    user = authority.issue()
    paths = user.write(tmp_path, "user")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "crl.pem").write_bytes(authority.revoke())
    server = start(
        *(*APP, "--ssl-certfile", certificate, "--ssl-keyfile", key, "--ssl-cert-reqs", "required"),
        *("--ssl-ca-certs", str(tmp_path / "ca.pem"), "--ssl-crl", str(tmp_path / "crl.pem")),
    )
    client = Client(server, paths)
    assert client.shown() == ("a.org",)
    with pytest.raises((ssl.SSLError, AssertionError, ConnectionError)):
        Client(server).shown()
    (tmp_path / "crl.new").write_bytes(authority.revoke([user]))
    os.replace(tmp_path / "crl.new", tmp_path / "crl.pem")

    def is_refused() -> bool:
        try:
            with client.connected(resume=True) as connection:
                client.get(connection)
        except (ssl.SSLError, AssertionError, ConnectionError):
            return True
        return False

    until(is_refused, "a refusal, though the client has a session to resume")
