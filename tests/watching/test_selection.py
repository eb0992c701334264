"""Which files count, by patterns as uvicorn has them."""

import pytest

from corehttp.watching.selection import Selection


@pytest.mark.parametrize(
    ("include", "exclude", "path", "counts"),
    [
        ((), (), "/app/main.py", True),
        ((), (), "/app/shop/views.py", True),
        ((), (), "/app/index.html", False),
        ((), (), "/app/.main.py", False),
        ((), (), "/app/~main.py", False),
        ((), (), "/app/main.pyc", False),
        (("*.html",), (), "/app/index.html", True),
        (("*.html",), (), "/app/main.py", True),
        (("templates/*.html",), (), "/app/templates/a.html", True),
        (("templates/*.html",), (), "/app/other/a.html", False),
        ((), ("*.py",), "/app/main.py", False),
        (("*.html",), ("*.py",), "/app/main.py", False),
        ((), ("gen_*.py",), "/app/gen_a.py", False),
        ((), ("gen_*.py",), "/app/main.py", True),
        ((".env",), (), "/app/.env", True),
        ((".env",), ("*",), "/app/.env", True),
        (("*", ".*"), (), "/app/.hidden", True),
        (("*",), (), "/app/.hidden", False),
    ],
)
def test_patterns_decide(include: tuple[str, ...], exclude: tuple[str, ...], path: str, counts: bool) -> None:
    assert Selection(include, exclude).counts(path) is counts


@pytest.mark.parametrize(
    ("path", "passed_over"),
    [
        ("/app/shop", False),
        ("/app/.git", True),
        ("/app/.venv", True),
        ("/app/__pycache__", True),
        ("/app/node_modules", True),
        ("/app/env/lib/python3.13/site-packages", True),
        ("/app/generated", True),
        ("/app/other/generated", False),
    ],
)
def test_directories_without_code_of_ones_own_are_passed_over(path: str, passed_over: bool) -> None:
    assert Selection((), (), ["/app/generated"]).passes_over(path) is passed_over
