"""Who may do what, and who the kernel says is there."""

import grp
import os
import socket

import pytest

from corehttp.control.access import Access, Caller, Rules, caller_of, rules

READ, CHANGE = Access.READ, Access.CHANGE
LOOKERS = Rules(1000, 50, frozenset({READ}))
GROUP = Rules(1000, 50, frozenset(Access))


@pytest.mark.parametrize(
    ("given", "caller", "allowed"),
    [
        (Rules(1000), Caller(0, 1, frozenset()), [READ, CHANGE]),
        (Rules(1000), Caller(1000, 1, frozenset()), [READ, CHANGE]),
        (Rules(1000), Caller(1001, 1, frozenset({0, 1000})), []),
        (LOOKERS, Caller(1001, 1, frozenset({50})), [READ]),
        (LOOKERS, Caller(1000, 1, frozenset({50})), [READ, CHANGE]),
        (LOOKERS, Caller(1001, 1, frozenset({51})), []),
        (GROUP, Caller(1001, 1, frozenset({51, 50})), [READ, CHANGE]),
    ],
)
def test_reading_and_changing_are_allowed_apart(given: Rules, caller: Caller, allowed: list[Access]) -> None:
    assert [access for access in Access if given.allow(caller, access)] == allowed


def test_the_option_names_a_group_by_name_or_number() -> None:
    first = grp.getgrgid(os.getegid())
    assert rules("") == Rules(os.geteuid())
    assert rules(first.gr_name) == Rules(os.geteuid(), first.gr_gid, frozenset(Access))
    assert rules("54321:read") == Rules(os.geteuid(), 54321, frozenset({READ}))
    with pytest.raises(LookupError, match="there is no group no_such_group"):
        rules("no_such_group")


def test_the_kernel_says_who_has_connected() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        caller = caller_of(ours)
    assert (caller.uid, caller.pid) == (os.geteuid(), os.getpid())
    assert caller.groups >= {os.getegid(), *os.getgroups()}
    assert str(caller) == f"uid {os.geteuid()}, pid {os.getpid()}"
