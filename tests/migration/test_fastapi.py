"""Commands `fastapi run` and `fastapi dev`, and which application is meant by their path."""

from collections.abc import Mapping

import pytest

from corehttp.migration.commands import translate_words
from corehttp.migration.fastapi import application
from corehttp.migration.flags import MigrationError
from corehttp.migration.translation import Translation

PACKAGE = {"app/__init__.py": "", "app/main.py": "from fastapi import FastAPI\n\napi = FastAPI()\n"}


def translated(line: str, files: Mapping[str, str] = {}) -> Translation:
    translation = translate_words([line], files.get)
    assert translation is not None
    return translation


@pytest.mark.parametrize(
    ("line", "command"),
    [
        # As FastAPI's pages on deployment and its templates have them.
        ('CMD ["fastapi", "run", "app/main.py", "--port", "80"]', "corehttp app.main:app --host 0.0.0.0 --port 80"),
        (
            'CMD ["fastapi", "run", "app/main.py", "--proxy-headers", "--port", "80"]',
            "corehttp app.main:app --host 0.0.0.0 --port 80",
        ),
        (
            'CMD ["fastapi", "run", "--workers", "4", "app/main.py"]',
            "corehttp app.main:app --host 0.0.0.0 --workers 4",
        ),
        ("fastapi run main.py", "corehttp main:app --host 0.0.0.0"),
        ("fastapi dev main.py", "corehttp main:app --reload"),
        ("uv run fastapi dev", "corehttp main:app --reload"),
        ("python -m fastapi run --host ::1 --root-path /api", "corehttp main:app --host ::1 --root-path /api"),
        ("web: fastapi run --port ${PORT:-80}", 'corehttp main:app --host 0.0.0.0 --port "${PORT:-80}"'),
        ("fastapi dev -e shop.web:site --no-reload", "corehttp shop.web:site --no-reload"),
        ("fastapi run --app site", "corehttp main:site --host 0.0.0.0"),
        ("cd /srv/fastapi && fastapi run", "corehttp main:app --host 0.0.0.0"),
        ("fastapi run $MAIN", 'corehttp "$MAIN:app" --host 0.0.0.0'),
    ],
)
def test_a_command_of_fastapi_becomes_ours(line: str, command: str) -> None:
    translation = translated(line)
    assert translation.command() == command
    assert translation.missing == []
    assert translation.conflict() == ""


@pytest.mark.parametrize(
    ("path", "files", "name", "directory"),
    [
        ("", PACKAGE, "app.main:api", ""),
        ("app/main.py", PACKAGE, "app.main:api", ""),
        ("./app/main.py", PACKAGE, "app.main:api", ""),
        ("app", {"app/__init__.py": "app: FastAPI = make()\n"}, "app:app", ""),
        ("app/__init__.py", {"app/__init__.py": "web = FastAPI(title='a')\n"}, "app:web", ""),
        # The directory of a file is no package without __init__.py.
        ("src/main.py", {"src/main.py": "api = FastAPI()\napp = FastAPI()\n"}, "main:app", "src"),
        ("src/shop/a.py", {"src/shop/__init__.py": "", "src/shop/a.py": "app == 1\napi = 1\n"}, "shop.a:api", "src"),
        # A file that is in an image alone.
        ("app/main.py", {}, "app.main:app", ""),
        ("/code/app/main.py", {}, "main:app", "/code/app"),
    ],
)
def test_the_application_is_named_after_the_top_package(
    path: str, files: Mapping[str, str], name: str, directory: str
) -> None:
    assert application(path, "", files.get) == (name, directory)


@pytest.mark.parametrize("path", [".", "..", "/", "./", "../.."])
def test_a_path_that_names_no_file_is_an_error(path: str) -> None:
    with pytest.raises(MigrationError, match=r"name the file of the application, as in `fastapi run main\.py`$"):
        translated(f"fastapi run {path}")


def test_the_directory_of_a_file_outside_of_packages_joins_the_import_path() -> None:
    command = "corehttp main:app --app-dir src --host 0.0.0.0"
    assert translated("fastapi run src/main.py", {"src/main.py": ""}).command() == command


def test_what_fastapi_does_not_know_and_a_second_file_are_told() -> None:
    translation = translated("fastapi run main.py other.py --what --verbose")
    assert translation.missing == ["--what: fastapi has no such flag", "other.py: a service has one application"]
    assert translation.unknown == ["--what"]
    assert translation.notes == ["fastapi reads the variable PORT; if it is set there, add --port $PORT"]
    assert translated("fastapi run --port 80").notes == []


@pytest.mark.parametrize("line", ["fastapi", "fastapi login", "cd fastapi"])
def test_any_other_command_of_fastapi_starts_no_server(line: str) -> None:
    assert translate_words([line], lambda path: None) is None


def test_a_directory_that_is_named_like_a_server_is_none() -> None:
    translation = translated("cd /srv/uvicorn-app && gunicorn a:b")
    assert translation.command() == "corehttp a:b"
