"""Objects that JavaScript and JSON files export, read without being run."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.migration.javascript import DEPTH, Expression, exported


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('module.exports = {"a": 1}', {"a": 1}),
        ("// module\nconst x = require('y');\nmodule.exports = {a: 1};\nx.y()", {"a": 1}),
        ("export default {a: 'b'}", {"a": "b"}),
        ("{a: `b`, 'c': \"d\", $e: -1.5, f: 1_000, g: 2e3}", {"a": "b", "c": "d", "$e": -1.5, "f": 1000, "g": 2000.0}),
        ("{a: true, b: false, c: null, d: undefined}", {"a": True, "b": False, "c": None, "d": None}),
        ("{a: [1, 'x', [], {},], /* c */ // d\n}", {"a": [1, "x", [], {}]}),
        (
            r"{a: 'it\'s\n\u00fc\
end'}",
            {"a": "it's\nüend"},
        ),
    ],
)
def test_what_is_written_out_is_read(text: str, value: object) -> None:
    assert exported(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("process.env.X", "process.env.X"),
        ("process.env.X || 'a,b'", "process.env.X || 'a,b'"),
        ("os.cpus({a: [1, 2]}).length - 1", "os.cpus({a: [1, 2]}).length - 1"),
        ("'a' + b", "'a' + b"),
        ("1 + 1", "1 + 1"),
        ("[1].concat(x)", "[1].concat(x)"),
        ("`${a}`", "`${a}`"),
        ("truest", "truest"),
    ],
)
def test_what_is_computed_is_its_text(text: str, value: str) -> None:
    found = exported(f"module.exports = {{ a: {text}, b: 1 }}")
    assert found == {"a": value, "b": 1}
    assert isinstance(found["a"], Expression)


def test_spreads_and_short_members_are_told() -> None:
    assert exported("{...other, a, b: 1}") == {"...other": "...", "a": "a", "b": 1}


@pytest.mark.parametrize(
    "text", ["{", "{a: 1", "{a: 'b}", "{1: 2}", "{a: (]}", "{a: b'}", "{a: `${b}", "{,}", "[" * (DEPTH + 2)]
)
def test_what_is_not_well_formed_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(line 1: |it has more than)"):
        exported(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=3))
def test_json_is_read_as_json(value: object) -> None:
    assert exported(json.dumps(value)) == value


@given(st.text(alphabet="{}[]:,'\"`$\\/*abtrue1.-\n ", max_size=40))
def test_whatever_stands_in_a_file_it_is_read_or_refused(text: str) -> None:
    with suppress(ValueError):
        exported(text)
