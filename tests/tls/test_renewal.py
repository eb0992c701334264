"""Renewal of certificates while a worker serves: when files are looked at, and what is said of faults."""

import logging
from collections.abc import Sequence

import pytest

from corehttp.errors import StartupError
from corehttp.tls.certificate import Certificate
from corehttp.tls.renewal import DAY, PATIENCE, Renewal
from corehttp.tls.settings import KeyPair

WALL = 1_700_000_000.0
PAIR = KeyPair("/tls.crt", "/tls.key")
RENEWED = "certificates are loaded anew: a.org until 2024-02-12 22:13 UTC"


class FakeContexts:
    """Contexts whose files change, and fail to load, as a test says."""

    def __init__(self, days: float = 90) -> None:
        self.certificates: Sequence[tuple[KeyPair, Certificate]] = [
            (PAIR, Certificate(("a.org",), WALL - DAY, WALL + days * DAY, b""))
        ]
        self.lists: tuple[str, Sequence[float]] = ("", ())
        self.is_stale = False
        self.fault = ""
        self.reloads = 0
        self.secrets: list[bytes] = []

    def reload(self) -> None:
        self.reloads += 1
        if self.fault:
            raise StartupError(self.fault)
        self.is_stale = False

    def share_sessions(self, secret: bytes) -> bool:
        self.secrets.append(secret)
        return True


def make(contexts: FakeContexts, *, speaks: bool = True) -> Renewal:
    return Renewal(contexts, speaks=speaks, wall=lambda: WALL)


def run(renewal: Renewal, begin: float, seconds: float) -> float:
    """Let so many seconds pass; return the time then."""
    for _ in range(int(seconds)):
        renewal.look(begin)
        begin += 1
    return begin


def said(caplog: pytest.LogCaptureFixture, least: int = logging.INFO) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= least]
    caplog.clear()
    return found


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="corehttp.error")


def test_files_that_have_changed_are_loaded_at_the_next_look(caplog: pytest.LogCaptureFixture) -> None:
    contexts = FakeContexts()
    renewal = make(contexts)
    now = run(renewal, 100, 60)
    assert contexts.reloads == 0
    contexts.is_stale = True
    run(renewal, now, 1)
    assert contexts.reloads == 1
    assert said(caplog) == [RENEWED]


def test_a_certificate_and_its_key_that_come_one_after_the_other_give_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    contexts = FakeContexts()
    renewal = make(contexts)
    contexts.is_stale, contexts.fault = True, "they do not fit"
    now = run(renewal, 100, PATIENCE - 1)
    assert contexts.reloads == PATIENCE - 1
    contexts.fault = ""
    run(renewal, now, 1)
    assert said(caplog) == [RENEWED]


def test_a_fault_that_stays_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    contexts = FakeContexts()
    renewal = make(contexts)
    contexts.is_stale, contexts.fault = True, "they do not fit"
    now = run(renewal, 100, 60)
    assert said(caplog) == ["new certificates cannot be used, those of before are served on: they do not fit"]
    contexts.fault = "the key cannot be read"
    now = run(renewal, now, 60)
    assert said(caplog) == ["new certificates cannot be used, those of before are served on: the key cannot be read"]
    contexts.fault = ""
    now = run(renewal, now, 1)
    assert said(caplog) == [RENEWED]
    contexts.is_stale, contexts.fault = True, "the key cannot be read"
    run(renewal, now, PATIENCE + 1)
    assert len(said(caplog)) == 1


def test_files_that_are_put_back_as_they_were_end_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    contexts = FakeContexts()
    renewal = make(contexts)
    for _ in range(2):
        contexts.is_stale, contexts.fault = True, "they do not fit"
        now = run(renewal, 100, PATIENCE - 2)
        contexts.is_stale = False
        run(renewal, now, 60)
    assert said(caplog) == []


def test_a_worker_that_is_not_to_speak_does_the_same_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    contexts = FakeContexts(days=1)
    renewal = make(contexts, speaks=False)
    contexts.is_stale, contexts.fault = True, "they do not fit"
    now = run(renewal, 100, 60)
    contexts.fault = ""
    run(renewal, now, 1)
    assert not contexts.is_stale
    assert said(caplog) == []


def test_a_certificate_that_ends_soon_is_warned_of_at_the_start_and_once_a_day(
    caplog: pytest.LogCaptureFixture,
) -> None:
    renewal = make(FakeContexts(days=9.5))
    for now in range(0, 3 * int(DAY), 3600):
        renewal.look(now)
    assert said(caplog) == 3 * [
        "the certificate for a.org in /tls.crt expires in 9 days, on 2023-11-24 10:13 UTC: renew it"
    ]


def test_an_expired_certificate_and_an_old_list_are_errors(caplog: pytest.LogCaptureFixture) -> None:
    contexts = FakeContexts(days=-1)
    contexts.lists = ("/crl", [WALL - 1])
    make(contexts).look(0)
    assert len(said(caplog, logging.ERROR)) == 2


def test_new_certificates_are_shown_and_judged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    contexts, ends = FakeContexts(), list[list[float]]()
    renewal = Renewal(contexts, speaks=True, show=ends.append, wall=lambda: WALL)
    now = run(renewal, 0, 20)
    contexts.certificates, contexts.is_stale = FakeContexts(days=1).certificates, True
    run(renewal, now, 1)
    assert ends == [[WALL + 90 * DAY], [WALL + DAY]]
    assert [text for text in said(caplog) if "expires in 1 day," in text]


def test_the_secret_of_the_workers_is_taken_when_there_is_a_new_one() -> None:
    contexts, secrets = FakeContexts(), [b""]
    renewal = Renewal(contexts, speaks=True, secret=lambda: secrets[-1], wall=lambda: WALL)
    now = run(renewal, 0, 20)
    secrets.append(b"first")
    now = run(renewal, now, 20)
    secrets.append(b"")  # as it looks while it is written
    now = run(renewal, now, 20)
    secrets.append(b"second")
    run(renewal, now, 20)
    assert contexts.secrets == [b"first", b"second"]
