"""What a process is in its service, and what runs only while it leads."""

import pytest

from corehttp import membership
from corehttp.membership import Membership


class Work:
    """Something that runs only while a worker leads."""

    def __init__(self, of: Membership) -> None:
        self.of = of
        self.ending = False
        self.entered = of.enter(self)

    def end(self) -> None:
        self.ending = True


def test_a_process_without_a_supervisor_is_the_first_worker_and_leads() -> None:
    own = membership.current
    assert (own.worker, own.generation, own.leads, own.mail) == (1, 1, True, None)


def test_a_worker_of_a_supervisor_leads_when_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(membership, "current", membership.current)
    membership.become(3, 2, 17)
    own = membership.current
    assert (own.worker, own.generation, own.number, own.leads) == (3, 2, 17, False)
    own.appoint()
    assert own.leads


def test_nothing_begins_that_is_for_the_leader_alone_where_no_leader_is() -> None:
    assert not Work(Membership(leads=False)).entered


def test_a_leader_has_stepped_down_when_all_has_ended_that_runs_because_of_that() -> None:
    own, said = Membership(), list[str]()
    works = [Work(own), Work(own)]
    own.depose(lambda: said.append("stepped down"))
    assert not own.leads
    assert all(work.ending for work in works)
    own.leave(works[0])
    assert not said
    assert not Work(own).entered
    own.leave(works[1])
    assert said == ["stepped down"]
    own.leave(works[1])
    assert said == ["stepped down"]


def test_a_leader_for_which_nothing_runs_has_stepped_down_at_once() -> None:
    own, said = Membership(), list[str]()
    own.depose(lambda: said.append("stepped down"))
    assert said == ["stepped down"]


def test_who_watches_hears_of_each_change_until_it_ends_that() -> None:
    own, heard = Membership(leads=False), list[bool]()
    end = own.watch(lambda: heard.append(own.leads))
    own.appoint()
    own.depose()
    end()
    own.appoint()
    assert heard == [True, False]
