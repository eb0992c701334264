"""Which values of a gunicorn.conf.py can be read without running it, and that it is never run."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.migration.gunicorn_file import LONGEST, read_settings


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("4", 4),
        ("-1", -1),
        ("'a' 'b'", "ab"),
        ("True", True),
        ("None", None),
        ("['a', 'b']", ["a", "b"]),
        ("('a',)", ["a"]),
        ("2 * 2 + 1", 5),
        ("7 // 2 - 1 % 2", 2),
        ("'0.0.0.0:' + port", "0.0.0.0:80"),
        ("f'0.0.0.0:{port}'", "0.0.0.0:80"),
        ("int(port) + 1", 81),
        ("str(81)", "81"),
        ("os.environ.get('A', '3')", "3"),
        ("int(os.getenv('A', 3))", 3),
        ("os.environ.get('A')", None),
        ("os.environ.get('A') or 'b'", "b"),
        ("None or 0 or ''", None),
    ],
)
def test_what_can_be_read(expression: str, value: object) -> None:
    found = read_settings(f"import os\nport = '80'\nx = {expression}\n")
    assert found.values["x"] == value
    assert found.computed == {}


@pytest.mark.parametrize(
    "expression",
    [
        *("f()", "os.cpu_count()", "os.environ['A']", "y", "lambda: 1", "[f()]", "1 / 0", "int('x')", "-'a'", "x.y"),
        *("'a' * 10**9", "[1] * 2", "10 ** 10", "'%s' % 1", "f'{1:>99999999}'", "f'{1!r}'", "open('x').read()"),
        *("{'a': 1}", "1 if a else 2", "1 + 'a'", "int('1', 8)", "os.getenv(key='A')", "os.getenv('A', f())"),
    ],
)
def test_what_is_computed_is_told_and_not_known(expression: str) -> None:
    found = read_settings(f"x = 1\nx = {expression}\n")
    assert "x" not in found.values
    assert found.computed["x"].startswith("line 2: ")


def test_texts_do_not_grow_without_bound() -> None:
    lines = "\n".join(["x = 'abc'", *["x = x + x"] * 40])
    found = read_settings(lines)
    assert "x" not in found.values
    longest = read_settings("\n".join(["x = 'ab'", *["x = x + x"] * 11]))
    assert len(longest.values["x"]) == LONGEST


@pytest.mark.parametrize("twice", ["x * x", "[x, x]", "f'{x}{x}'", "x + x"])
@pytest.mark.parametrize("first", ["10", "'ab'", "['ab']", "b'ab'"])
def test_no_value_grows_without_bound(first: str, twice: str) -> None:
    found = read_settings("\n".join([f"x = {first}", *[f"x = {twice}"] * 40, "workers = x", "bind = [x]"]))
    assert len(str(found)) < 100_000


@pytest.mark.parametrize("value", [f"0x{'f' * 5000}", "+".join("1" * 3000)], ids=["long", "deep"])
def test_a_value_that_python_cannot_write_ends_nothing(value: str) -> None:
    found = read_settings(f"workers = {value}\n")
    assert found.fault or found.computed == {"workers": "line 1: ..."}, "Python 3.11 does not parse the deep one"


def test_a_value_that_is_set_anew_is_the_last_one() -> None:
    assert read_settings("x = f()\nx = 2\n").values == {"x": 2}
    assert read_settings("x: int = 2\nx += 1\n").values == {}
    assert read_settings("try:\n    x = 1\nexcept E:\n    x = 2\n").computed["x"].startswith("line 1: try:")


def test_a_file_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "made"
    found = read_settings(f"open({str(path)!r}, 'w')\nx = open({str(path)!r}, 'w')\nworkers = 2\n")
    assert found.values == {"workers": 2}
    assert not path.exists()


@pytest.mark.parametrize("text", ["x = ", "\x00", "(" * 5000, "def"])
def test_what_is_no_python_is_told(text: str) -> None:
    assert read_settings(text).fault


@given(st.text(alphabet="x=1+'\"()[]{}fos.environ, \n:-*%", max_size=60))
def test_whatever_stands_in_a_file_it_is_read(text: str) -> None:
    found = read_settings(text)
    kinds: Any = (str, int, float, bool, list, complex, bytes, type(None), type(...))
    assert all(isinstance(value, kinds) for value in found.values.values())
