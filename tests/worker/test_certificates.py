"""What a worker shares of its certificates with the supervisor and the other workers."""

import logging
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.ipc.codec import dump
from corehttp.ipc.scoreboard import Scoreboard
from corehttp.ipc.tls_area import read_ends, renew_secret
from corehttp.tls.contexts import Contexts
from corehttp.tls.settings import paths
from corehttp.worker import certificates
from corehttp.worker.certificates import load, renewal
from corehttp.worker.siblings import Siblings
from tests.kit.certificates import Authority
from tests.tls.test_contexts import Client, mutual, settings, shown
from tests.tls.test_contexts import authority as issuer

authority = Authority()


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create()
    yield board
    board.close()


@pytest.fixture(autouse=True)
def hook_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)


@pytest.fixture
def workers(board: Scoreboard) -> Iterator[list[Siblings]]:
    found = [Siblings(board, board.claim(slot), slot, socket.socket()) for slot in range(2)]
    yield found
    for siblings in found:
        siblings.close()


def test_workers_resume_each_others_sessions(board: Scoreboard, workers: list[Siblings], tmp_path: Path) -> None:
    renew_secret(board.fd)
    contexts = [Contexts(settings(tmp_path)) for _ in workers]
    for one, siblings in zip(contexts, workers, strict=True):
        renewal(one, siblings).look(0.0)
    client = Client()
    for one in contexts:
        client.connect(one.current)
    assert client.resumed


def test_the_supervisor_is_shown_when_the_certificates_end(
    board: Scoreboard, workers: list[Siblings], tmp_path: Path
) -> None:
    contexts = Contexts(settings(tmp_path, authority.issue("a.org", days=5), authority.issue("b.org", days=9)))
    renewal(contexts, workers[1])
    ends = [int(certificate.not_after) for _, certificate in contexts.certificates]
    assert read_ends(board.fd, 1, int(workers[1].row.claim)) == ends
    assert read_ends(board.fd, 0, int(workers[0].row.claim)) == []


def test_one_worker_of_all_speaks(
    board: Scoreboard, workers: list[Siblings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for siblings in (*workers, None):
        renewal(Contexts(settings(tmp_path, authority.issue("a.org", days=1.5))), siblings).look(0.0)
    warned = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 2, "that of the first slot, and one without a supervisor"


def test_a_server_name_that_is_no_text_is_refused_and_writes_nothing(
    workers: list[Siblings], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    contexts = Contexts(settings(tmp_path, authority.issue("a.org"), authority.issue("b.org")))
    renewal(contexts, workers[0])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        Client().context.wrap_bio(to_client, to_server, server_hostname="xxxx.org").do_handshake()
    hello = to_server.read().replace(b"xxxx", b"x\xff\xfex")
    to_server.write(hello)
    with pytest.raises(ssl.SSLError):
        contexts.current.wrap_bio(to_server, to_client, server_side=True).do_handshake()
    assert capsys.readouterr().err == ""


def test_a_worker_that_starts_with_broken_files_serves_what_others_have_loaded(
    workers: list[Siblings], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    user, wanted = issuer.issue(), mutual(tmp_path, [])
    renewal(load(wanted, workers[0]), workers[0])
    (tmp_path / "pair0.crt").write_bytes(authority.issue("new.org").pem)
    contexts = load(wanted, workers[1])
    assert contexts.is_stale
    assert shown(contexts.current, None, Client(certificate=user.write(tmp_path, "user"))) == (
        "example.org",
        "*.example.org",
        "127.0.0.1",
    )
    assert contexts.certificates[0][0] == wanted.pairs[0], "the paths are those of the options"
    [text] = [record.getMessage() for record in caplog.records]
    assert text.endswith(
        f"is not the key of the certificate in {tmp_path}/pair0.crt; what was served before is served on"
    )
    renewal(contexts, workers[1])
    authority.issue("newer.org").write(tmp_path, "pair0")
    contexts.reload()
    assert contexts.certificates[0][1].names == ("newer.org",)
    assert not contexts.is_stale


def test_what_is_loaded_later_is_kept_for_workers_that_start(workers: list[Siblings], tmp_path: Path) -> None:
    wanted = settings(tmp_path, authority.issue("old.org"))
    first = renewal(load(wanted, workers[0]), workers[0])
    authority.issue("new.org").write(tmp_path, "pair0")
    first.look(0.0)
    (tmp_path / "pair0.key").unlink()
    assert load(wanted, workers[1]).certificates[0][1].names == ("new.org",)


def test_a_worker_that_starts_with_other_files_than_those_that_are_kept_fails(
    workers: list[Siblings], tmp_path: Path
) -> None:
    wanted = settings(tmp_path / "one")
    renewal(load(wanted, workers[0]), workers[0])
    others = settings(tmp_path / "other")
    (tmp_path / "other" / "pair0.key").unlink()
    for siblings in (workers[1], None):
        with pytest.raises(StartupError, match=r"other/pair0.key cannot be read"):
            load(others, siblings)


@pytest.mark.parametrize("kept", [b"", b"junk", dump([1]), dump({"a": 1, "b": b"x"}), dump({1: b"x"})])
def test_what_is_kept_may_be_anything(kept: bytes, workers: list[Siblings], tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    workers[0].keep_files(kept)
    assert not load(wanted, workers[1]).is_stale
    (tmp_path / "pair0.key").unlink()
    with pytest.raises(StartupError, match=r"pair0.key cannot be read"):
        load(wanted, workers[1])


def test_copies_that_cannot_be_used_are_no_reason_to_fail_otherwise(workers: list[Siblings], tmp_path: Path) -> None:
    wanted = settings(tmp_path)
    workers[0].keep_files(dump(dict.fromkeys(paths(wanted), b"junk")))
    (tmp_path / "pair0.key").unlink()
    with pytest.raises(StartupError, match=r"pair0.key cannot be read"):
        load(wanted, workers[1])


def test_no_key_is_kept_where_shared_memory_is_on_disk(
    workers: list[Siblings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "CAN_KEEP", False)
    renewal(Contexts(settings(tmp_path)), workers[0]).look(0.0)
    assert workers[1].kept_files() == b""
