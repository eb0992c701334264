"""Records are what dataclasses are, but for what they cost at start."""

import copy
import dataclasses
from typing import Any

import pytest

from corehttp.records import field_names, fresh, mutable_record, record, replaced, values


@record
class Point:
    """A record that is not changed."""

    x: int
    y: int = 0


@record
class Other:
    x: int
    y: int = 0


@record
class Sign:
    """A record without a field."""


@record
class Even:
    number: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", self.number // 2 * 2)

    def __repr__(self) -> str:
        return f"even {self.number}"


@mutable_record
class Basket:
    owner: str
    things: list[str] = fresh(factory=list)


def test_a_record_has_the_values_that_it_is_made_of_and_its_defaults() -> None:
    assert (Point(1).x, Point(1).y) == (1, 0)
    assert values(Point(1, y=2)) == values(Point(y=2, x=1)) == {"x": 1, "y": 2}
    assert field_names(Point) == ("x", "y")
    assert field_names(Sign) == ()


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1}), ((), {"y": 1, "z": 1})]
)
def test_a_field_that_is_missing_given_twice_or_unknown_is_refused(
    args: tuple[int, ...], named: dict[str, int]
) -> None:
    make: Any = Point
    with pytest.raises(TypeError, match="Point"):
        make(*args, **named)


def test_records_are_equal_when_their_class_and_their_fields_are() -> None:
    assert Point(1, 2) == Point(1, 2) != Point(2, 1)
    assert len({Point(1, 2), Point(1, 2), Point(2, 1), Sign(), Sign()}) == 3
    different: list[object] = [Other(1, 2), (1, 2), None]
    assert Point(1, 2) not in different
    assert Basket("a") == Basket("a") != Basket("b")


def test_a_record_is_not_changed_and_a_mutable_one_has_no_hash() -> None:
    point: Any = Point(1)
    with pytest.raises(AttributeError, match="x"):
        point.x = 2
    with pytest.raises(AttributeError, match="x"):
        del point.x
    basket = Basket("a")
    basket.owner = "b"
    assert basket.owner == "b"
    with pytest.raises(TypeError, match="unhashable"):
        hash(basket)


def test_each_record_gets_a_default_of_its_own_where_one_is_made_for_it() -> None:
    first, second = Basket("a"), Basket("a")
    first.things.append("apple")
    assert second.things == []
    assert Basket("a", ["pear"]).things == ["pear"]
    assert not hasattr(Basket, "things")


def test_what_a_class_defines_itself_stays() -> None:
    assert repr(Even(5)) == "even 4"
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"
    assert repr(Sign()) == "Sign()"


def test_a_record_can_be_matched_copied_and_replaced() -> None:
    match Point(3, 4):
        case Point(x, y=4):
            assert x == 3
        case _:
            pytest.fail("not matched")
    assert copy.deepcopy(Point(1, 2)) == Point(1, 2)
    assert replaced(Point(1, 2), y=3) == Point(1, 3)
    with pytest.raises(TypeError, match="z"):
        replaced(Point(1, 2), z=3)


def test_the_functions_of_dataclasses_take_records() -> None:
    assert dataclasses.replace(Point(1, 2), x=5) == Point(5, 2)
    assert dataclasses.asdict(Basket("a", ["b"])) == {"owner": "a", "things": ["b"]}
    assert [(field.name, field.default) for field in dataclasses.fields(Point)][1] == ("y", 0)
    assert dataclasses.fields(Basket)[1].default_factory is list
    assert dataclasses.is_dataclass(Sign())
