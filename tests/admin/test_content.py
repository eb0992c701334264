"""What the supervisor has said is input, of which any part may be missing or of another kind."""

import pytest

from corehttp.admin.content import Content, number, numbers, objects, seconds, status_of, whole, workers_of


@pytest.mark.parametrize(
    "overview", [None, {}, {"status": None}, {"status": [1]}, {"status": {"workers": {"slot": 1}}}]
)
def test_without_a_list_of_workers_there_are_none(overview: Content | None) -> None:
    assert workers_of(overview) == []


def test_the_workers_are_the_objects_in_the_status() -> None:
    overview = {"status": {"pid": 7, "workers": [{"slot": 1}, None, "slot", {"slot": 2}]}}
    assert status_of(overview)["pid"] == 7
    assert workers_of(overview) == [{"slot": 1}, {"slot": 2}]


@pytest.mark.parametrize("value", [None, "1", [1], {}])
def test_what_is_no_number_counts_as_none(value: object) -> None:
    assert (whole(value), number(value), seconds(value)) == (0, 0.0, None)
    assert numbers([value, 1, 2.5]) == [1.0, 2.5]
    assert numbers(value) == ([1.0] if value == [1] else [])
    assert objects(value) == []


def test_numbers_and_times_are_taken_as_they_are() -> None:
    assert (whole(3), number(3), number(2.5)) == (3, 3.0, 2.5)
    assert seconds("1970-01-01T00:01:00+00:00") == 60.0
