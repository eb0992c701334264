"""Requests wait in line if too many run, in order and for a limited time, and are turned away if too many wait."""

import logging

import pytest

from corehttp.protocols.admission import Admission, Verdict
from tests.kit.fakes import FakeTimers

RUN, WAIT, TURN_AWAY = Verdict


class Applicant:
    """A connection with requests; one that is let run does so until `end`."""

    def __init__(self, door: "Door", *paths: str) -> None:
        self.door = door
        self.paths = list(paths) or ["/"]
        self.started = 0
        self.answers: list[tuple[int, str, int]] = []

    def ask(self) -> Verdict:
        """Ask for a verdict on the next request, as a connection does."""
        verdict = self.door.admission.verdict(self, self.paths[0])
        match verdict:
            case Verdict.RUN:
                self.paths.pop(0)
                self.started += 1
                self.door.running.append(self)
            case Verdict.WAIT:
                pass
            case Verdict.TURN_AWAY:
                self.door.admission.turn_away(self)
        return verdict

    def proceed(self) -> None:
        while self.paths and self.ask() is RUN:
            pass

    def turn_away(self, status: int, reason: str, retry_after: int) -> None:
        self.paths.pop(0)
        self.answers.append((status, reason, retry_after))

    def end(self) -> None:
        """End one of the requests."""
        self.door.running.remove(self)
        self.door.admission.admit_waiting()


class Door:
    """An admission, and the requests that run."""

    def __init__(self, *, limit: int, queue: int = 0, queue_timeout: float = 2, exempt: tuple[str, ...] = ()) -> None:
        self.running: list[Applicant] = []
        self.timers = FakeTimers()
        self.admission = Admission(
            self.running, self.timers, limit=limit, queue=queue, queue_timeout=queue_timeout, exempt=exempt
        )

    def applicants(self, count: int) -> list[Applicant]:
        return [Applicant(self) for _ in range(count)]


def test_as_many_as_the_limit_run_and_the_rest_is_turned_away() -> None:
    door = Door(limit=2)
    assert [applicant.ask() for applicant in door.applicants(4)] == [RUN, RUN, TURN_AWAY, TURN_AWAY]


def test_as_many_as_the_queue_holds_wait() -> None:
    door = Door(limit=1, queue=2)
    assert [applicant.ask() for applicant in door.applicants(4)] == [RUN, WAIT, WAIT, TURN_AWAY]


def test_a_place_that_is_free_is_for_the_first_in_line_and_makes_room_behind_it() -> None:
    """The place is free between the end of a request and `admit_waiting`, which the event loop calls later."""
    door = Door(limit=1, queue=1)
    runs, waits, late, later = door.applicants(4)
    assert not door.admission.waits
    assert [runs.ask(), waits.ask()] == [RUN, WAIT]
    door.running.remove(runs)
    assert [late.ask(), later.ask()] == [WAIT, TURN_AWAY]
    assert door.admission.waits
    door.admission.admit_waiting()
    assert door.running == [waits]
    waits.end()
    assert door.running == [late]
    assert not door.admission.waits


def test_who_waits_and_asks_again_goes_on_waiting_in_one_place() -> None:
    door = Door(limit=1, queue=2)
    first, second, third, fourth = door.applicants(4)
    first.ask()
    assert [second.ask(), second.ask(), third.ask(), second.ask(), fourth.ask()] == [WAIT, WAIT, WAIT, WAIT, TURN_AWAY]


def test_who_waits_longest_is_next() -> None:
    door = Door(limit=1, queue=9)
    all_of_them = door.applicants(5)
    for applicant in all_of_them:
        applicant.ask()
    for position, applicant in enumerate(all_of_them):
        assert [other.started for other in all_of_them] == [1] * (position + 1) + [0] * (4 - position)
        applicant.end()
    assert door.running == []


def test_a_newcomer_does_not_overtake_who_waits() -> None:
    door = Door(limit=1, queue=9)
    first, second, newcomer = door.applicants(3)
    first.ask()
    second.ask()
    door.running.clear()  # the place is free, and `admit_waiting` was not called yet
    assert newcomer.ask() is WAIT
    door.admission.admit_waiting()
    assert (second.started, newcomer.started) == (1, 0)


def test_all_free_places_are_given_at_once() -> None:
    door = Door(limit=2, queue=9)
    all_of_them = door.applicants(5)
    for applicant in all_of_them:
        applicant.ask()
    door.running.clear()
    door.admission.admit_waiting()
    assert [applicant.started for applicant in all_of_them] == [1, 1, 1, 1, 0]


def test_an_end_with_nobody_waiting_is_no_matter() -> None:
    door = Door(limit=1)
    for applicant in door.applicants(3):
        assert applicant.ask() is RUN
        applicant.end()


def test_a_place_is_for_one_request_and_the_next_of_the_same_connection_stands_in_line() -> None:
    door = Door(limit=1, queue=9)
    first, many, last = Applicant(door), Applicant(door, *["/"] * 5), Applicant(door)
    for applicant in (first, many, last):
        applicant.ask()
    first.end()
    assert (many.started, last.started) == (1, 0)
    many.end()
    assert (many.started, last.started) == (1, 1)
    last.end()
    assert (many.started, last.started) == (2, 1)


def test_nobody_starves_beside_connections_with_many_requests() -> None:
    door = Door(limit=2, queue=9)
    greedy = [Applicant(door, *["/"] * 50) for _ in range(3)]
    for applicant in greedy:
        applicant.ask()
    patient = Applicant(door)
    assert patient.ask() is WAIT
    for _ in range(3):
        door.running[0].end()
    assert patient.started == 1


def test_who_is_forgotten_gets_no_place_and_frees_its_own_in_the_queue() -> None:
    door = Door(limit=1, queue=2)
    first, second, third, fourth = door.applicants(4)
    assert [first.ask(), second.ask(), third.ask()] == [RUN, WAIT, WAIT]
    door.admission.forget(second)
    door.admission.forget(fourth)  # `fourth` has never waited
    assert fourth.ask() is WAIT
    first.end()
    assert (second.started, third.started, fourth.started) == (0, 1, 0)
    door.timers.pass_time(10)
    assert second.answers == []


def test_who_waits_too_long_is_turned_away_at_its_time() -> None:
    door = Door(limit=1, queue=9, queue_timeout=2)
    first, second, third = door.applicants(3)
    first.ask()
    second.ask()
    door.timers.pass_time(1.5)
    third.ask()
    door.timers.pass_time(0.25)
    assert (second.answers, third.answers) == ([], [])
    door.timers.pass_time(0.25)
    assert (second.answers, third.answers) == ([(503, "the server is busy", 2)], [])
    door.timers.pass_time(1.5)
    assert third.answers == [(503, "the server is busy", 2)]
    assert door.timers.waiting == []
    assert Applicant(door).ask() is WAIT
    door.timers.pass_time(1.5)
    assert len(door.timers.waiting) == 1


def test_one_timer_is_enough_for_all_who_wait() -> None:
    door = Door(limit=1, queue=100)
    for applicant in door.applicants(50):
        applicant.ask()
        door.timers.pass_time(0.01)
    assert len(door.timers.waiting) == 1


def test_who_got_a_place_in_time_is_not_turned_away_later() -> None:
    door = Door(limit=1, queue=9)
    first, second = door.applicants(2)
    first.ask()
    second.ask()
    first.end()
    door.timers.pass_time(100)
    assert (second.started, second.answers) == (1, [])


@pytest.mark.parametrize(("seconds", "retry_after"), [(0, 1), (0.2, 1), (1, 1), (1.5, 2), (30, 30)])
def test_the_client_is_told_to_come_again_after_the_time_of_the_queue(seconds: float, retry_after: int) -> None:
    door = Door(limit=1, queue_timeout=seconds)
    _, turned_away = [(applicant, applicant.ask())[0] for applicant in door.applicants(2)]
    assert turned_away.answers == [(503, "the server is busy", retry_after)]


def test_without_time_in_the_queue_nobody_waits_in_it() -> None:
    door = Door(limit=1, queue=9, queue_timeout=0)
    _, second = [(applicant, applicant.ask())[0] for applicant in door.applicants(2)]
    door.timers.pass_time(0)
    assert second.answers == [(503, "the server is busy", 1)]


def test_an_exempt_path_runs_at_once_whatever_runs_and_waits() -> None:
    door = Door(limit=1, queue=1, exempt=("/healthz",))
    first, second, third = door.applicants(3)
    assert [first.ask(), second.ask(), third.ask()] == [RUN, WAIT, TURN_AWAY]
    assert [Applicant(door, "/healthz").ask() for _ in range(3)] == [RUN] * 3
    assert Applicant(door, "/healthz/").ask() is TURN_AWAY
    assert Applicant(door, "/health").ask() is TURN_AWAY
    first.end()
    assert second.started == 0  # requests for exempt paths count as running


def test_turned_away_requests_are_logged_once_a_minute_with_their_number(error_log: list[logging.LogRecord]) -> None:
    door = Door(limit=1, queue=0)

    def turn_away(count: int) -> list[str]:
        error_log.clear()
        for applicant in door.applicants(count):
            assert applicant.ask() is TURN_AWAY
        return [record.getMessage() for record in error_log]

    Applicant(door).ask()
    text = "turned away {} requests (503): 1 run and 0 wait already"
    assert turn_away(5) == [text.format(1)]
    door.timers.pass_time(59)
    assert turn_away(5) == []
    door.timers.pass_time(1)
    assert turn_away(5) == [text.format(10)]
    assert turn_away(1) == []
    door.timers.pass_time(60)
    assert turn_away(1) == [text.format(6)]
    assert all(record.levelname == "WARNING" for record in error_log)


def test_who_waits_is_not_turned_away_for_time_in_which_the_loop_did_not_run() -> None:
    door = Door(limit=1, queue=9, queue_timeout=2)
    first, second, third = door.applicants(3)
    assert [first.ask(), second.ask(), third.ask()] == [RUN, WAIT, WAIT]
    door.timers.block(30)
    assert second.answers == third.answers == []
    first.end()
    assert second.started == 1
    door.timers.pass_time(1)
    assert len(third.answers) == 1, "in the end it has waited too long"
