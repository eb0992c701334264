"""Which cases of a test run: a part of them by default, all where FULL is set in the environment, as it is in CI."""

import os
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest

FULL = bool(os.environ.get("FULL"))


def combinations(*axes: Iterable[Any]) -> list[Any]:
    """The cases of several axes: every combination with FULL, otherwise each value of each axis at least once.

    For tests that start processes for each case. Axis by axis the values are taken in step, the shorter axes again from
    their start, so that there are as many cases as the longest axis has values.
    """
    values = [list(axis) for axis in axes]
    if FULL:
        return list(product(*values))
    return [tuple(axis[at % len(axis)] for axis in values) for at in range(max(map(len, values)))]


def varied(*cases: Any) -> list[Any]:
    """The cases of one parameter, of which the first is a feature: `make check` runs that one, `make test` all."""
    return [pytest.param(case, marks=[] if number else pytest.mark.feature) for number, case in enumerate(cases)]


def crossed(names: tuple[str, ...], *axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize a test with the combinations of the axes, one for each name."""
    cases = [pytest.param(*case, id=_name(case)) for case in combinations(*axes)]
    return pytest.mark.parametrize(names, cases)


def _name(case: tuple[Any, ...]) -> str:
    """The values in words: those of tuples are command-line arguments, those of functions are their names."""
    words = [" ".join(value) if isinstance(value, tuple) else getattr(value, "__name__", str(value)) for value in case]
    return "-".join(words)
