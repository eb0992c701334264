"""Command lines and configuration files of uvicorn and gunicorn, and the commands that they become."""

import contextlib
from collections.abc import Mapping

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from corehttp.migration.commands import translate_arguments, translate_gunicorn_file, translate_words
from corehttp.migration.flags import MigrationError
from corehttp.migration.translation import Translation


def nothing(path: str) -> None:
    """Read no file."""


def translated(line: str, files: Mapping[str, str] = {}) -> Translation:
    translation = translate_words(line.split(), files.get)
    assert translation is not None
    return translation


LIMITED = (
    "corehttp main:app --timeout-keep-alive 5 --limit-max-requests 1000 --limit-max-requests-jitter 50 "
    "--timeout-graceful-shutdown 40 --timeout-worker-healthcheck 60"
)


@pytest.mark.parametrize(
    ("given", "command"),
    [
        # uvicorn
        ("uvicorn main:app", "corehttp main:app"),
        ("uvicorn main:app --host 0.0.0.0 --port 80", "corehttp main:app --host 0.0.0.0 --port 80"),
        ("uvicorn main:app --port=80 --no-access-log", "corehttp main:app --port 80 --no-access-log"),
        ("uvicorn --workers 4 main:app --log-level debug", "corehttp main:app --workers 4 --log-level debug"),
        ("uvicorn main:app --ws none --loop asyncio", "corehttp main:app --loop asyncio --ws off"),
        ("uvicorn main:app --ws wsproto --interface asgi3 --reset-contextvars", "corehttp main:app --interface asgi3"),
        ("uvicorn main:app --ws-per-message-deflate false", "corehttp main:app --ws-compression off"),
        ("uvicorn main:app --header a:b --header c:d", "corehttp main:app --header a:b --header c:d"),
        ("uvicorn main:create --factory --root-path /a", "corehttp main:create --factory --root-path /a"),
        ("uvicorn main:app --forwarded-allow-ips *", "corehttp main:app --forwarded-allow-ips '*'"),
        # What stands before it.
        ("python -m uvicorn main:app --port 80", "corehttp main:app --port 80"),
        ("exec /opt/venv/bin/uvicorn main:app", "corehttp main:app"),
        ("A=1 B=$C poetry run uvicorn main:app", "A=1 B='$C' corehttp main:app"),
        # gunicorn
        ("gunicorn main:app -w 4 -k uvicorn.workers.UvicornWorker", "corehttp main:app --workers 4"),
        ("gunicorn main:app -w4 -b0.0.0.0:80", "corehttp main:app --bind 0.0.0.0:80 --workers 4"),
        ("gunicorn -b unix:/run/app.sock main:app", "corehttp main:app --bind unix:/run/app.sock"),
        ("gunicorn main --bind :80", "corehttp main:application --bind 0.0.0.0:80"),
        (
            "gunicorn main:app -b :80 -b unix:a,[::1]:81",
            "corehttp main:app --bind 0.0.0.0:80 --bind unix:a --bind '[::1]:81'",
        ),
        ("gunicorn main:make() --preload", "corehttp main:make --factory --preload"),
        (
            "gunicorn main:app --max-requests 1000 --max-requests-jitter 50 -t 60 --graceful-timeout 40 --keep-alive 5",
            LIMITED,
        ),
        ("gunicorn main:app -e A=1 --env B=2", "A=1 B=2 corehttp main:app"),
        ("gunicorn main:app --access-logfile /var/log/a", "corehttp main:app --access-log-file /var/log/a"),
        ("gunicorn", "corehttp MODULE:ATTRIBUTE"),
        (
            "uvicorn main:app --ssl-keyfile k.pem --ssl-certfile c.pem --ssl-version 17",
            "corehttp main:app --ssl-certfile c.pem --ssl-keyfile k.pem",
        ),
        (
            "gunicorn main:app --keyfile=k.pem --certfile=c.pem --cert-reqs 2 --ca-certs a.pem",
            "corehttp main:app --ssl-certfile c.pem --ssl-keyfile k.pem --ssl-ca-certs a.pem --ssl-cert-reqs required",
        ),
        ("gunicorn -- main:app", "corehttp main:app"),
    ],
)
def test_a_command_becomes_ours(given: str, command: str) -> None:
    translation = translated(given)
    assert translation.command() == command
    assert translation.missing == []
    assert translation.conflict() == ""


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("uvicorn main:app --http2", ["--http2: HTTP/2 is not spoken; a proxy in front does"]),
        ("uvicorn main:app --help", ["--help: `corehttp --help` does that"]),
        ("uvicorn main:app --what 1", ["--what: uvicorn has no such flag", "1: a service has one application"]),
        ("uvicorn main:app --port x", ["--port x: 'x' is not valid; it must be a whole number from 0 to 65535"]),
        ("uvicorn main:app --port", ["--port : '' is not valid; it must be a whole number from 0 to 65535"]),
        ("gunicorn main:app -D", ["-D: it is for what starts corehttp: a service manager, a container, the shell"]),
        ("gunicorn main:app -c nowhere.py", ["-c nowhere.py: it cannot be read"]),
        ("gunicorn main:app -e A;B=1", ["'A;B': a shell has no variables of that name"]),
        (
            "gunicorn main:app -b :80 -b a:b:81",
            ["-b a:b:81: use HOST:PORT, unix:PATH or fd://N"],
        ),
    ],
)
def test_what_has_no_equal_is_told(given: str, missing: list[str]) -> None:
    translation = translated(given)
    assert translation.missing == missing
    assert translation.options["app"] == "main:app"


def test_what_is_the_default_and_what_needs_nothing_is_told() -> None:
    assert translated("gunicorn main:app -k asgi --timeout 30 -b 127.0.0.1:8000").needless == [
        "-k asgi: every worker runs an event loop, and a WSGI application in threads",
        "--timeout 30: so it is by default",
        "-b 127.0.0.1:8000: so it is by default",
    ]


def test_the_default_address_beside_another_one_is_needed() -> None:
    translation = translated("gunicorn main:app -b 127.0.0.1:8000 -b [::1]:8000")
    assert translation.command() == "corehttp main:app --bind 127.0.0.1:8000 --bind '[::1]:8000'"
    assert translation.needless == []


def test_a_default_that_takes_back_another_value_is_no_default() -> None:
    assert translated("uvicorn main:app --port 80 --port 8000").command() == "corehttp main:app --port 8000"


def test_options_that_exclude_each_other_are_told() -> None:
    assert (
        translated("gunicorn main:app --max-requests-jitter 5").conflict().startswith("limit-max-requests-jitter need")
    )


def test_a_command_in_one_word_is_parted_as_a_shell_does() -> None:
    translation = translate_words(["gunicorn main:app -e 'A=b c'"], nothing)
    assert translation is not None
    assert translation.command() == "A='b c' corehttp main:app"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        # As a Procfile, a Dockerfile and a script have them.
        ("web: uvicorn a:b --host=0.0.0.0 --port=${PORT:-5000}", 'corehttp a:b --host 0.0.0.0 --port "${PORT:-5000}"'),
        ("web: gunicorn a:b -b 0.0.0.0:$PORT -w $WORKERS", 'corehttp a:b --bind "0.0.0.0:$PORT" --workers "$WORKERS"'),
        ('CMD ["uvicorn", "a:b", "--port", "80"]', "corehttp a:b --port 80"),
        ('["sh", "-c", "alembic upgrade head && exec uvicorn a:b --port $PORT"]', 'corehttp a:b --port "$PORT"'),
        ("bash -c 'cd x; uvicorn a:b && echo done'", "corehttp a:b"),
        ("uvicorn a:b --port 80 &", "corehttp a:b --port 80"),
        ("gunicorn [::]:a", "corehttp '[::]:a'"),
        ("uvicorn a:b --header 'x:[\"c\"]'", "corehttp a:b --header 'x:[\"c\"]'"),
        ('exec gunicorn "$APP_MODULE" -w 2', 'corehttp "$APP_MODULE" --workers 2'),
        ("uvicorn ${APP:-main:app}", 'corehttp "${APP:-main:app}"'),
        # What a shell must not run.
        ("uvicorn $(touch)", "corehttp '$(touch)'"),
        ("uvicorn a:b --root-path /$(touch made)", "corehttp a:b --root-path '/$(touch'"),
        ("uvicorn a:b --header x:$PORT;y", "corehttp a:b --header 'x:$PORT;y'"),
        ("uvicorn a:b --header 'x:`$PORT`'", "corehttp a:b --header 'x:`$PORT`'"),
        ("uvicorn a:b --app-dir ${PORT:-$(touch made)}", "corehttp a:b --app-dir '${PORT:-$(touch'"),
    ],
)
def test_a_line_of_a_file_is_parted_as_the_shell_does_and_keeps_its_variables(line: str, command: str) -> None:
    translation = translate_words([line], nothing)
    assert translation is not None
    assert translation.command() == command
    assert translation.conflict() == ""


def test_a_variable_in_a_file_of_gunicorn_is_no_variable_of_the_shell() -> None:
    assert translated("gunicorn a:b", {"gunicorn.conf.py": "proc_name = '$HOME'"}).command() == "corehttp a:b"
    assert translate_gunicorn_file("chdir = '$HOME'", "g.py").command().endswith("'$HOME'")


def test_where_output_goes_is_for_the_shell() -> None:
    translation = translate_words(["uvicorn a:b > log 2>&1"], nothing)
    assert translation is not None
    assert translation.missing == [
        "> log: it is for the shell; write it behind the command",
        "2>&1: it is for the shell; write it behind the command",
    ]


def test_a_quote_without_its_end_is_an_error() -> None:
    with pytest.raises(MigrationError, match="uvicorn 'a:b: No closing quotation"):
        translate_words(["uvicorn 'a:b"], nothing)


@drawn(st.text(alphabet="uvicorn gnf[]\"',>&|;$(){}:-=/\\\n", max_size=60))
def test_no_line_is_more_than_a_command_or_an_error(line: str) -> None:
    with contextlib.suppress(MigrationError):
        translation = translate_words([f"uvicorn {line}"], nothing)
        assert translation is None or translation.command().startswith("corehttp ")


def test_requests_that_uvicorn_does_not_log_are_not_logged() -> None:
    for level in ("warning", "ERROR", "critical"):
        command = f"corehttp a:b --log-level {level} --no-access-log"
        assert translated(f"uvicorn a:b --log-level {level}").command() == command
    assert translated("uvicorn a:b --log-level debug").command() == "corehttp a:b --log-level debug"
    command = "corehttp a:b --log-level warning"
    assert translated("gunicorn a:b --log-level warning").command() == command, "gunicorn logs them at each level"


@pytest.mark.parametrize("words", [[], ["main:app"], ["hypercorn", "main:app"], [""]])
def test_what_runs_neither_is_nothing(words: list[str]) -> None:
    assert translate_words(words, nothing) is None


@pytest.mark.parametrize(
    ("given", "command"),
    [
        # As FastAPI's, Starlette's, Django's, Litestar's, Flask's and gunicorn's pages on deployment have them.
        ("uvicorn main:app --host 0.0.0.0 --port 80", "corehttp main:app --host 0.0.0.0 --port 80"),
        ("uvicorn main:app --proxy-headers --workers 4", "corehttp main:app --workers 4"),
        ("uvicorn main:app --root-path /api/v1", "corehttp main:app --root-path /api/v1"),
        ("python -m uvicorn myproject.asgi:application", "corehttp myproject.asgi:application"),
        (
            "python -m gunicorn myproject.asgi:application -k uvicorn_worker.UvicornWorker",
            "corehttp myproject.asgi:application",
        ),
        (
            "gunicorn main:app --workers 4 --worker-class uvicorn.workers.UvicornWorker --bind 0.0.0.0:80",
            "corehttp main:app --bind 0.0.0.0:80 --workers 4",
        ),
        ("uvicorn --factory app:create_app", "corehttp app:create_app --factory"),
        ("gunicorn -w 4 hello:create_app()", "corehttp hello:create_app --factory --workers 4"),
        ("gunicorn -w 4 -b 0.0.0.0 hello:app", "corehttp hello:app --bind 0.0.0.0:8000 --workers 4"),
        (
            "gunicorn --bind unix:/run/gunicorn.sock mysite.wsgi:application",
            "corehttp mysite.wsgi:application --bind unix:/run/gunicorn.sock",
        ),
    ],
)
def test_commands_of_deployment_pages_become_ours(given: str, command: str) -> None:
    translation = translated(given)
    assert translation.command() == command
    assert translation.missing == []


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["main:app", "-w", "4", "-b", ":80"], "corehttp main:app --bind 0.0.0.0:80 --workers 4"),
        (["main:app", "--http2", "--port", "80"], "corehttp main:app --port 80"),
        (["main:app", "-w", "4", "--sticky", "ip"], None),
        (["-w", "4"], None),
    ],
)
def test_arguments_of_either_server_are_known_as_such(arguments: list[str], command: str | None) -> None:
    translation = translate_arguments(arguments)
    assert (translation and translation.command()) == command


# Files of gunicorn.

FILE = """
bind = "0.0.0.0:80"
workers = 3
worker_class = "uvicorn.workers.UvicornWorker"
preload_app = True
reuse_port = False
pidfile = None
"""


def test_gunicorn_reads_the_file_of_its_directory_and_flags_win() -> None:
    files = {"gunicorn.conf.py": FILE, "other.py": "workers = 9"}
    command = "corehttp main:app --bind 0.0.0.0:80 --workers 3 --preload"
    assert translated("gunicorn main:app", files).command() == command
    assert translated("gunicorn main:app -w 5 -b :1", files).command() == (
        "corehttp main:app --bind 0.0.0.0:1 --workers 5 --preload"
    )
    for flag in ("-c other.py", "-cother.py", "--config=file:other.py"):
        assert translated(f"gunicorn main:app {flag}", files).command() == "corehttp main:app --workers 9"


def test_what_only_the_program_knows_is_told_with_its_line() -> None:
    translation = translate_gunicorn_file("workers = find()\n\nif x:\n    timeout = 3\n", "gunicorn.conf.py")
    assert translation.options == {}
    assert translation.missing == [
        "workers: only gunicorn knows its value (line 1: find())",
        "timeout: only gunicorn knows its value (line 3: if x:)",
    ]
    assert translation.notes == ["gunicorn.conf.py was read, not run"]


@pytest.mark.parametrize(
    "text",
    [
        "import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1",
        "import os\ncpus = os.cpu_count() or 1\nworkers = min(cpus, 8)",
        "from multiprocessing import cpu_count\nworkers = cpu_count()",
        "import os\nworkers = len(os.sched_getaffinity(0))",
    ],
)
def test_workers_for_each_cpu_are_auto(text: str) -> None:
    assert translate_gunicorn_file(text, "g.py").options == {"workers": "auto"}


def test_a_dictionary_for_which_an_option_stands_is_answered_with_that() -> None:
    translation = translate_gunicorn_file('secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}', "g.py")
    assert translation.missing == ["secure_scheme_headers: use --proxy-headers"]


def test_hooks_and_dictionaries_and_several_addresses_are_told() -> None:
    text = (
        'bind = ["0.0.0.0:80", "[::]:80"]\nraw_env = ["A=1"]\nwsgi_app = "main:app"\nlogconfig_dict = {"version": 1}\n'
        "def post_fork(server, worker):\n    pass\n"
    )
    translation = translate_gunicorn_file(text, "g.py")
    assert translation.command() == "A=1 corehttp main:app --bind 0.0.0.0:80 --bind '[::]:80'"
    assert translation.missing == [
        "logconfig_dict: only gunicorn knows its value (line 4: {'version': 1})",
        "post_fork: there are no hooks; use the application's lifespan",
    ]
