"""From a name to an application: what is found, and what is said about everything else."""

import functools
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corehttp.app import load
from corehttp.config import Config
from corehttp.errors import InterruptedStart, StartupError

GOOD = """
async def app(scope, receive, send): ...
async def other(scope, receive, send): ...
class Holder:
    inner = staticmethod(app)
holder = Holder()
def make(): return app
def make_badly(): raise LookupError("no settings")
def make_nothing(): return None
async def make_later(): return app
number = 5
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory whose modules are forgotten after the test."""
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def good(directory: Path) -> str:
    (directory / "good_app.py").write_text(GOOD)
    return str(directory)


def fault_of(target: Any, **options: Any) -> StartupError:
    with pytest.raises(StartupError) as caught:
        load(target, **options)
    return caught.value


def name_of(app: object) -> object:
    return getattr(app, "__name__", None)


def test_a_module_and_an_attribute(good: str) -> None:
    assert name_of(load("good_app:other", app_dir=good)) == "other"


def test_a_module_alone_means_its_app(good: str) -> None:
    assert name_of(load("good_app", app_dir=good)) == "app"


def test_attributes_of_attributes(good: str) -> None:
    assert name_of(load("good_app:holder.inner", app_dir=good)) == "app"


def test_a_module_in_a_package(directory: Path) -> None:
    (directory / "good_package").mkdir()
    (directory / "good_package" / "web.py").write_text(GOOD)
    assert name_of(load("good_package.web:app", app_dir=str(directory))) == "app"


def test_the_current_directory_is_searched(good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(good)
    assert name_of(load("good_app")) == "app"


def test_a_factory_is_called(good: str) -> None:
    assert name_of(load("good_app:make", factory=True, app_dir=good)) == "app"


def test_an_object_is_taken_as_it_is() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    assert load(app) is app


class Application:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any, extra: int = 0) -> None: ...

    async def keyword_only(self, scope: Any, receive: Any, send: Any, *, extra: int = 0) -> None: ...


async def takes_any(*arguments: Any) -> None: ...


async def configured(settings: Any, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    "app",
    [
        Application(),
        Application().method,
        Application().keyword_only,
        takes_any,
        functools.partial(configured, {}),
    ],
)
def test_every_kind_of_callable_with_three_arguments(app: Any) -> None:
    assert load(app) is app


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ("", ""),
        (":app", ""),
        ("main-:", ""),
        ("main:app:x", ""),
        ("a..b", ""),
        ("1:2", ""),
        ("main.py", "main:app"),
        ("main.py:make", "main:make"),
        ("main.py:create()", "main:create --factory"),
        ("main:create(debug=True)", "main:create --factory"),
        ("path/to.py", "--app-dir path to:app"),
        ("./main.py", "main:app"),
        ("src/main:app", "--app-dir src main:app"),
        ("../src/main", "--app-dir ../src main:app"),
        ("/srv/app/main.py:application", "--app-dir /srv/app main:application"),
        ("/main.py", "--app-dir / main:app"),
        ("src\\web\\main.py", "--app-dir src/web main:app"),
        ("src/web.main:app", "--app-dir src web.main:app"),
        ("C:\\web\\main.py:make", "--app-dir C:/web main:make"),
    ],
)
def test_a_name_that_is_none_is_told_how_to_write_one(target: str, meant: str) -> None:
    expected = f"the application {target!r} must be written as MODULE:ATTRIBUTE, as in main:app"
    assert str(fault_of(target)) == expected + (f"; did you mean {meant}?" if meant else "")


def test_the_file_of_a_module_in_a_package_is_the_module_of_that_package(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (directory / "shop" / "web").mkdir(parents=True)
    (directory / "shop" / "web" / "__init__.py").touch()
    monkeypatch.chdir(directory)
    assert str(fault_of("shop/web/main.py")).endswith("; did you mean --app-dir shop/web main:app?")
    (directory / "shop" / "__init__.py").touch()
    assert str(fault_of("./shop/web/main.py:make")).endswith("; did you mean shop.web.main:make?")


def test_a_dot_in_the_place_of_the_colon_is_seen(directory: Path) -> None:
    (directory / "dotted.py").write_text("async def app(scope, receive, send): ...\n")
    assert str(fault_of("dotted.app", app_dir=str(directory))) == (
        "there is no module 'dotted.app'; did you mean dotted:app?"
    )
    assert "there is no module 'dotted.other' in " in str(fault_of("dotted.other", app_dir=str(directory)))


@pytest.mark.parametrize(
    ("target", "question"),
    [("shoop:app", "did you mean shop? Or start in"), ("shop.vews:app", "did you mean shop.views? Or start in")],
)
def test_a_module_whose_name_is_similar_is_asked_for(directory: Path, target: str, question: str) -> None:
    (directory / "shop").mkdir()
    (directory / "shop" / "__init__.py").touch()
    (directory / "shop" / "views.py").touch()
    assert question in str(fault_of(target, app_dir=str(directory)))


@pytest.mark.parametrize(
    ("target", "question"),
    [
        ("statsu", "did you mean the verb, `corehttp status`? Or start in"),
        ("Staus", "did you mean the verb, `corehttp status`? Or start in"),
        ("relod", "did you mean the verb, `corehttp reload`? Or the module reloads? Or start in"),
        ("start", "did you mean `corehttp main:app`, without a verb? Or start in"),
        ("startup", "did you mean `corehttp systemd-unit`? Or start in"),
        ("help", "did you mean `corehttp --help`? Or start in"),
        ("dev", "did you mean `corehttp main:app --reload`? Or start in"),
    ],
)
def test_a_mistyped_verb_is_asked_for_beside_a_similar_module(directory: Path, target: str, question: str) -> None:
    (directory / "reloads.py").touch()
    told = str(fault_of(target, app_dir=str(directory)))
    assert told.startswith(f"there is no module {target!r} in {directory} or among the installed packages; ")
    assert question in told


@pytest.mark.parametrize("target", ["statsu:app", "web.statsu", "surely_missing", "main", "app", "server", "asgi"])
def test_what_is_an_application_or_like_no_verb_is_not_taken_for_one(directory: Path, target: str) -> None:
    assert "verb" not in str(fault_of(target, app_dir=str(directory)))


def test_a_module_of_the_standard_library_that_is_like_a_verb_is_answered_with_that_verb(directory: Path) -> None:
    text = "the module 'stat' has no attribute 'app'; did you mean the verb, `corehttp status`?"
    assert str(fault_of("stat", app_dir=str(directory))) == text
    assert "verb" not in str(fault_of("stat:app", app_dir=str(directory)))


def test_a_module_of_the_application_that_is_like_a_verb_is_answered_with_what_it_has(directory: Path) -> None:
    (directory / "statsu.py").write_text("def application(): ...\n")
    text = "the module 'statsu' has no attribute 'app'; it has application"
    assert str(fault_of("statsu", app_dir=str(directory))) == text


def test_an_unknown_module_is_told_where_it_was_looked_for(directory: Path) -> None:
    error = fault_of("surely_missing:app", app_dir=str(directory))
    assert str(error).startswith(f"there is no module 'surely_missing' in {directory} ")
    assert "--app-dir" in str(error)
    assert error.detail == ""


def test_an_unknown_module_in_a_known_package_is_named_whole(directory: Path) -> None:
    (directory / "known_package").mkdir()
    assert "no module 'known_package.web'" in str(fault_of("known_package.web", app_dir=str(directory)))


def test_a_module_that_imports_an_unknown_one_is_shown_with_its_own_traceback(directory: Path) -> None:
    (directory / "importing.py").write_text("import surely_missing\n")
    error = fault_of("importing", app_dir=str(directory))
    assert str(error) == "the module 'importing' cannot be imported: No module named 'surely_missing'"
    assert "importing.py" in error.detail
    assert "importlib" not in error.detail
    assert "corehttp" not in error.detail.replace(str(directory), "")


def test_an_unknown_module_whose_name_begins_like_ours_is_not_ours(directory: Path) -> None:
    (directory / "web.py").write_text("import web_missing\n")
    assert "the module 'web' cannot be imported" in str(fault_of("web", app_dir=str(directory)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def app(:\n", "SyntaxError"),
        ("raise ValueError('by design')\n", "ValueError('by design')"),
        ("raise SystemExit(3)\n", "SystemExit(3)"),
        (
            "class Mute(Exception):\n  def __repr__(self): return self.lost\n  __str__ = __repr__\nraise Mute\n",
            "Mute object",
        ),
    ],
)
def test_a_module_that_fails_is_shown_with_its_traceback(directory: Path, text: str, words: str) -> None:
    (directory / "failing.py").write_text(text)
    error = fault_of("failing", app_dir=str(directory))
    assert str(error).startswith("the module 'failing' cannot be imported: ")
    assert words in str(error)
    assert "failing.py" in error.detail


@pytest.mark.parametrize(
    "error", ["SystemExit", "SystemExit(0)", "SystemExit('no settings')", "GeneratorExit", "BaseException('by design')"]
)
@pytest.mark.parametrize("where", ["import", "factory", "attribute"])
def test_whatever_the_application_raises_at_its_start_is_a_failed_start(
    directory: Path, where: str, error: str
) -> None:
    text = {
        "import": f"raise {error}\n",
        "factory": f"def make():\n    raise {error}\n",
        "attribute": f"def __getattr__(name):\n    if name == 'make': raise {error}\n    raise AttributeError\n",
    }
    (directory / "leaving.py").write_text(text[where])
    fault = fault_of("leaving:make", factory=True, app_dir=str(directory))
    assert error.partition("(")[0] in str(fault)
    assert "leaving.py" in fault.detail


def test_control_c_in_an_import_is_not_the_modules_fault(directory: Path) -> None:
    (directory / "interrupted.py").write_text("from corehttp.errors import InterruptedStart\nraise InterruptedStart\n")
    with pytest.raises(InterruptedStart):
        load("interrupted", app_dir=str(directory))


def test_a_keyboard_interrupt_is_control_c_only_where_that_raises_it(directory: Path) -> None:
    (directory / "raising_once.py").write_text("raise KeyboardInterrupt\n")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            load("raising_once", app_dir=str(directory))
        signal.signal(signal.SIGINT, lambda number, frame: None)  # as in a worker
        assert "KeyboardInterrupt()" in str(fault_of("raising_once", app_dir=str(directory)))
    finally:
        signal.signal(signal.SIGINT, before)


def test_frames_of_the_application_are_kept_whatever_they_are_called(directory: Path) -> None:
    for package in ("importlib_demo", "corehttp_plugins"):
        (directory / package).mkdir()
        (directory / package / "main.py").write_text(
            "import importlib\ndef load():\n    importlib.import_module('late_and_broken')\nload()\n"
        )
    (directory / "late_and_broken.py").write_text("def configure():\n    raise KeyError('setting')\nconfigure()\n")
    for package in ("importlib_demo", "corehttp_plugins"):
        detail = fault_of(f"{package}.main", app_dir=str(directory)).detail
        places = re.findall(r'File "(.*)", line \d+, in (.*)', detail)
        ours = [place for place, _ in places].index(f"{directory}/{package}/main.py")
        assert ours == 0, "nothing of ours leads to the application's code"
        assert [name for place, name in places if str(directory) in place] == [
            "<module>",
            "load",
            "<module>",
            "configure",
        ]


def test_a_missing_attribute_is_answered_with_what_there_is(good: str) -> None:
    error = fault_of("good_app:application", app_dir=good)
    assert str(error) == (
        "the module 'good_app' has no attribute 'application'; it has app, other, make, make_badly, make_nothing"
    )
    assert str(fault_of("good_app:ap", app_dir=good)).endswith("has no attribute 'ap'; did you mean 'app'?")
    assert "has no attribute 'holder.nothing'" in str(fault_of("good_app:holder.nothing", app_dir=good))


def test_what_cannot_be_called_is_named(good: str) -> None:
    message = "good_app:number is not an ASGI application: int objects cannot be called"
    assert str(fault_of("good_app:number", app_dir=good)) == message


def test_a_class_is_not_an_application(good: str) -> None:
    message = "good_app:Holder is a class; name an instance, or a function that makes one with --factory"
    assert str(fault_of("good_app:Holder", app_dir=good)) == message


def no_arguments() -> None: ...
def one_argument(scope: Any) -> None: ...
def two_arguments(environ: Any, start_response: Any) -> None: ...
async def one_of_three(scope: Any) -> None: ...
async def two_of_three(scope: Any, receive: Any) -> None: ...
def four_arguments(a: Any, b: Any, c: Any, d: Any) -> None: ...


@pytest.mark.parametrize(
    ("app", "hint"),
    [
        (no_arguments, "it looks like a factory: use --factory"),
        (one_argument, "it looks like an ASGI 2 application: use --interface asgi2"),
        (two_arguments, "it looks like a WSGI application: use --interface wsgi"),
        (four_arguments, "an ASGI application takes scope, receive and send"),
    ],
)
def test_what_takes_other_arguments_is_told_what_it_looks_like(app: Any, hint: str) -> None:
    assert str(fault_of(app, interface="asgi3")).endswith(f" is not an ASGI application: {hint}")


class TwoOfThree:
    async def __call__(self, scope: Any, receive: Any) -> None: ...


@pytest.mark.parametrize("app", [one_of_three, two_of_three, TwoOfThree(), functools.partial(two_of_three)])
def test_a_coroutine_function_is_no_application_of_an_older_interface(app: Any) -> None:
    for interface in ("auto", "asgi3"):
        told = str(fault_of(app, interface=interface))
        assert told.endswith(" is not an ASGI application: an ASGI application takes scope, receive and send")


class WithScope:
    """An application of ASGI 2 as a class."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope

    async def __call__(self, receive: Any, send: Any) -> None:
        await send({"path": self.scope["path"], "body": await receive()})


def with_scope(scope: Any) -> WithScope:
    return WithScope(scope)


@pytest.mark.parametrize(("app", "interface"), [(with_scope, "auto"), (with_scope, "asgi2"), (WithScope, "asgi2")])
async def test_an_application_of_asgi_2_is_called_in_two_steps(app: Any, interface: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return b"body"

    async def send(message: Any) -> None:
        sent.append(message)

    await load(app, interface=interface)({"path": "/a"}, receive, send)
    assert sent == [{"path": "/a", "body": b"body"}]


def test_a_factory_that_must_be_awaited_is_told_apart(good: str) -> None:
    assert "the factory good_app:make_later is async" in str(
        fault_of("good_app:make_later", factory=True, app_dir=good)
    )


def test_a_factory_that_raises_is_shown_with_its_traceback(good: str) -> None:
    error = fault_of("good_app:make_badly", factory=True, app_dir=good)
    assert str(error) == "the factory good_app:make_badly failed: LookupError('no settings')"
    assert "good_app.py" in error.detail


def test_a_factory_that_makes_no_application(good: str) -> None:
    message = "good_app:make_nothing is not an ASGI application: NoneType objects cannot be called"
    assert str(fault_of("good_app:make_nothing", factory=True, app_dir=good)) == message
    assert "good_app:number is not a factory" in str(fault_of("good_app:number", factory=True, app_dir=good))


class Lazy:
    """Like Django's and werkzeug's lazy objects: every question but a call evaluates it."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("not configured")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("not configured")

    def __repr__(self) -> str:
        raise RuntimeError("not configured")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class LazyFactory(Lazy):
    def __call__(self) -> Any:  # type: ignore[override]
        return Lazy()


def test_a_lazy_application_is_not_evaluated() -> None:
    app: Any = Lazy()
    assert load(app) is app
    assert not Config(app=app).supervised
    factory: Any = LazyFactory()
    assert type(load(factory, factory=True)) is Lazy
    assert "it looks like a factory" in str(fault_of(factory))


def test_a_lazy_object_beside_a_missing_name_is_not_evaluated(directory: Path) -> None:
    (directory / "lazy_app.py").write_text("from tests.test_app import Lazy\nlazy = Lazy()\n")
    assert "has no attribute 'app'" in str(fault_of("lazy_app", app_dir=str(directory)))
    error = fault_of("lazy_app:lazy.inner", app_dir=str(directory))
    assert str(error) == "'inner' of lazy_app:lazy.inner cannot be had: RuntimeError('not configured')"


def test_a_factory_that_exits_is_shown_with_its_traceback(directory: Path) -> None:
    (directory / "exiting.py").write_text("def make(): raise SystemExit(3)\n")
    error = fault_of("exiting:make", factory=True, app_dir=str(directory))
    assert str(error) == "the factory exiting:make failed: SystemExit(3)"


def test_the_applications_directory_comes_first_wherever_it_was(good: str) -> None:
    strangers: list[Any] = [Path(good), None]
    sys.path += [good, *strangers]
    load("good_app", app_dir=good)
    assert sys.path[0] == good
    assert sys.path.count(good) == 1
    assert sys.path[-2:] == strangers


def test_a_directory_that_does_not_exist_is_named(directory: Path) -> None:
    missing = directory / "misspelt"
    error = fault_of("surely_missing", app_dir=str(missing))
    assert str(error) == f"there is no directory {missing}; --app-dir must name the application's"
