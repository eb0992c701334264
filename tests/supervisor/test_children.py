"""The table of child processes: what follows from the end of each."""

import logging

import pytest

from corehttp.supervisor.children import Child, Children


def child(name: str, said: list[str]) -> Child:
    return Child(name, lambda code: said.append(f"{name} ended with {code}"), lambda: said.append(f"end {name}"))


def test_what_follows_from_an_end_is_done_once_and_the_row_is_gone_by_then() -> None:
    said: list[str] = []
    children = Children()
    children.add(7, child("a worker", said))
    assert 7 in children
    children.ended(7, -9)
    children.ended(7, -9)
    assert said == ["a worker ended with -9"]
    assert children.pids() == []


def test_a_child_of_any_kind_that_is_left_is_ended_in_the_order_of_birth() -> None:
    said: list[str] = []
    children = Children()
    for pid, name in ((9, "a template"), (7, "a worker"), (8, "something new")):
        children.add(pid, child(name, said))
    children.disown(8)
    children.end_all()
    assert said == ["end a template", "end a worker"]


def test_one_that_another_child_has_forked_may_have_ended_before_it_was_known() -> None:
    children = Children()
    children.add(7, child("a template", []))
    assert not children.unheard
    children.adopt(8, child("a worker", []))
    assert children.unheard


def test_what_fails_at_the_end_of_one_is_told_and_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    children = Children()

    def fail(*_: object) -> None:
        raise OSError("strange")

    children.add(7, Child("a worker", fail, fail))
    children.add(8, child("another", said))
    with caplog.at_level(logging.ERROR, "corehttp.supervisor"):
        children.end_all()
        children.ended(7, 0)
    assert said == ["end another"]
    assert [record.getMessage() for record in caplog.records] == [
        "to end a worker has failed: strange",
        "the end of a worker has failed: strange",
    ]
