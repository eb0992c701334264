"""The verbs of the command: each asks a running service over its control socket, and ends with a VerbExit."""

import base64
import functools
import json
import os
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from corehttp.control import reports
from corehttp.control.client import Reply, VerbError, ask
from corehttp.control.messages import SCHEMA
from corehttp.control.process_figures import Measurement
from corehttp.control.services import Selector, choose, find, of_each, service_name, silence
from corehttp.control.verb_names import OTHER_NAMES

SEND_LIMIT = 32 * 1024  # bytes of data of `send`, which must fit a request in base64
CPU_SECONDS = 0.25  # seconds over which the use of CPUs is measured

Verb = Callable[..., None]


class _Verbs(click.Group):
    """Knows the verbs by their other names, too."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, OTHER_NAMES.get(cmd_name, cmd_name))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
def verbs() -> None:
    """See and steer running services."""


def run() -> None:
    """Run the verb with the arguments of this process, and end it."""
    verbs.main(prog_name="corehttp")


def _names(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """Return the names of running services that begin so, for the completion of a line."""
    names = [service_name(path)[0] for path in find(os.environ, os.geteuid())[0]]
    return sorted(name for name in names if name.startswith(begun))


def _selecting(verb: Verb) -> Verb:
    """Give a verb the options that say which service is meant, and `--json`; what it raises becomes its exit code."""

    @click.option(
        "--name", metavar="NAME", shell_complete=_names, help="The service of this name, as `corehttp list` shows it."
    )
    @click.option("--pid", type=int, metavar="PID", help="The service whose supervisor is this process.")
    @click.option("--socket", metavar="PATH", help="The service that listens on this control socket.")
    @_reporting
    def called(name: str | None, pid: int | None, socket: str | None, **arguments: Any) -> None:
        verb(choose(Selector(name, pid, socket), os.environ, os.geteuid()), **arguments)

    return functools.update_wrapper(called, verb)


def _reporting(verb: Verb) -> Verb:
    """Give a verb `--json`; what it raises is shown, and becomes its exit code."""

    @click.option(
        "--json", "as_json", is_flag=True, help='Print JSON: {"schema": 1, ...}, which is only ever extended.'
    )
    def called(as_json: bool, **arguments: Any) -> None:
        try:
            verb(as_json=as_json, **arguments)
        except VerbError as error:
            if as_json:
                _print_json({"ok": False, "reason": str(error)})
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.code)

    return functools.update_wrapper(called, verb)


def _waiting(verb: Verb) -> Verb:
    """Give a verb that changes something the options of waiting for the end."""
    no_wait = click.option("--wait/--no-wait", default=True, help="Whether to wait until it is done.  [default: wait]")
    timeout = click.option(
        "--timeout",
        type=click.FloatRange(min=0),
        default=0.0,
        metavar="SECONDS",
        help="How long to wait; it goes on after that, and the exit code is 5; 0: as long as it takes.  [default: 0]",
    )
    return no_wait(timeout(verb))


@verbs.command("list")
@_reporting
def list_(as_json: bool) -> None:
    """All running services of this user, a row for each; for root also those that became another user's (--user)."""
    paths, faults = find(os.environ, os.geteuid())
    found = of_each(paths, _status_or_silence)
    Measurement().add_to(found)
    if as_json:
        _print_json({"services": found})
        return
    for fault in faults:
        click.echo(f"passed over: {fault}", err=True)
    click.echo(reports.services(found, time.time()) if found else "no service of this user runs")


@verbs.command()
@_selecting
def status(path: str, as_json: bool) -> None:
    """One service: a row for each worker, then where it listens and how the last reload has ended."""
    answer = ask(path, "status")
    measurement = Measurement()
    measurement.add_to([answer])
    time.sleep(CPU_SECONDS)
    measurement.add_to([answer])
    _show(answer, as_json, lambda shown: reports.status(shown, time.time()))


@verbs.command()
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1),
    default=1.0,
    metavar="SECONDS",
    help="How long between two looks.  [default: 1]",
)
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="Look so many times, then end.")
@_selecting
def top(path: str, as_json: bool, interval: float, count: int | None) -> None:
    """One service as `status` shows it, again and again until Ctrl-C; in a terminal on one screen."""
    from corehttp.control.live import watch  # here, since only this verb needs what it brings along

    watch(path, as_json=as_json, interval=interval, count=count)


@verbs.command()
@click.argument("worker", type=click.IntRange(min=1), required=False, metavar="[W]")
@_selecting
def requests(path: str, as_json: bool, worker: int | None) -> None:
    """The requests that are in flight, of all workers or of worker W."""
    _show(ask(path, "requests", {"worker": worker}), as_json, reports.requests)


@verbs.command()
@click.option("--diff", is_flag=True, help="Only what a reload would find changed by now.")
@_selecting
def config(path: str, as_json: bool, diff: bool) -> None:
    """The options in force, and where each came from."""
    report = reports.config_changes if diff else reports.config
    _show(ask(path, "config", {"diff": diff}), as_json, report)


@verbs.command()
@click.argument("worker", type=click.IntRange(min=1), metavar="W")
@_selecting
def stacks(path: str, as_json: bool, worker: int) -> None:
    """What worker W is doing: the stacks of its threads and, where Python can tell them, of its tasks."""
    _show(ask(path, "stacks", {"worker": worker}), as_json, reports.stacks)


@verbs.command()
@_waiting
@_selecting
def reload(path: str, as_json: bool, **waiting: Any) -> None:
    """Read code and configuration afresh, and replace all workers without losing a request, as SIGHUP does."""
    _change(path, "reload", {}, as_json, **waiting)


@verbs.command(context_settings={"ignore_unknown_options": True})  # or -1 would be taken for one
@click.argument("workers", metavar="N|+N|-N|auto")
@_waiting
@_selecting
def scale(path: str, as_json: bool, workers: str, **waiting: Any) -> None:
    """Have N workers, N more or N fewer, or as many as --workers auto would start. A reload keeps their number."""
    if workers == "auto":
        amount: dict[str, object] = {"workers": "auto"}
    elif re.fullmatch(r"[+-]?[0-9]{1,5}", workers):
        amount = {"workers": int(workers), "relative": workers[0] in "+-"}
    else:
        raise click.UsageError(f"{workers!r} is no number of workers; it must be one of 4, +1, -1, auto")
    _change(path, "scale", amount, as_json, **waiting)


@verbs.command()
@click.argument("worker", metavar="W|all")
@_waiting
@_selecting
def restart(path: str, as_json: bool, worker: str, **waiting: Any) -> None:
    """Replace worker W, or all of them one after the other: each leaves when its successor serves."""
    if worker != "all" and not re.fullmatch(r"[1-9][0-9]{0,4}", worker):
        raise click.UsageError(f"{worker!r} is no worker; it must be a number from 1, or all")
    _change(path, "restart", {"worker": None if worker == "all" else int(worker)}, as_json, **waiting)


@verbs.command()
@click.option("--now", is_flag=True, help="Kill all workers, as SIGQUIT does, instead of finishing what is in flight.")
@_waiting
@_selecting
def stop(path: str, as_json: bool, now: bool, **waiting: Any) -> None:
    """Stop the service: requests in flight are finished first, as at SIGTERM."""
    _change(path, "stop", {"now": now}, as_json, **waiting)


@verbs.command()
@_waiting
@_selecting
def reopen(path: str, as_json: bool, **waiting: Any) -> None:
    """Open the log files anew, after logrotate has renamed them, in all processes, as SIGUSR1 does."""
    _change(path, "reopen", {}, as_json, **waiting)


@verbs.command()
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=15, metavar="N", help="So many of each file.  [default: 15]"
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is appended, over rotations, until Ctrl-C.")
@click.option("--worker", type=click.IntRange(min=1), metavar="W", help="Only the lines of worker W.")
@click.option("--err", is_flag=True, help="Only the server's own lines, not those of requests.")
@_selecting
def logs(path: str, as_json: bool, *, lines: int, follow: bool, worker: int | None, err: bool) -> None:
    """The last lines of the log files, each with the process that says it; without files, where lines go."""
    from corehttp.control.log_view import show  # here, since only this verb needs it

    show(path, count=lines, follow=follow, worker=worker, own=err, in_json=as_json)


@verbs.command()
@click.argument("topic")
@click.argument("data")
@_selecting
def send(path: str, as_json: bool, topic: str, data: str) -> None:
    """Publish DATA to all workers that subscribe to TOPIC with corehttp.bus; - reads it from standard input.

    At most 32 KiB. A message goes to each worker at most once.
    """
    content = sys.stdin.buffer.read(SEND_LIMIT + 1) if data == "-" else os.fsencode(data)
    if len(content) > SEND_LIMIT:
        raise click.UsageError(f"DATA has more than {SEND_LIMIT} bytes, which is the most that can be sent so")
    answer = ask(path, "send", {"topic": topic, "data": base64.b64encode(content).decode()})
    if as_json:
        _print_json({"ok": True, **answer})
    else:
        click.echo(f"send: {answer.get('text')}")


@verbs.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="uvicorn|gunicorn ... | FILE")
def migrate(words: tuple[str, ...]) -> None:
    """Print the command that does what one of uvicorn's or gunicorn's does, and what has no equal.

    FILE is a gunicorn.conf.py or an ecosystem file of PM2. Nothing is run, and no service is needed.
    """
    from corehttp.migration.flags import MigrationError  # here, since only this verb needs them
    from corehttp.migration.report import migrate

    try:
        click.echo(migrate(list(words)))
    except MigrationError as error:
        raise click.UsageError(str(error)) from None


@verbs.command("systemd-unit", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--write", metavar="DIRECTORY", help="Write the files there, as into /etc/systemd/system, and show them.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="APP [OPTIONS]")
def systemd_unit(write: str | None, words: tuple[str, ...]) -> None:
    """Print the unit files with which systemd starts `corehttp APP OPTIONS` in this directory, as this user.

    Where the options say on which addresses, there is a socket file, too. As root it is a user that systemd makes.
    """
    from corehttp.errors import ConfigError  # here, since only this verb needs them
    from corehttp.systemd_units import unit_files, write_files

    try:
        files = unit_files(words)
        if write is not None:
            write_files(files, write)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    for name, text in files.items():
        click.echo(f"# {os.path.join(write or '/etc/systemd/system', name)}\n{text}")


def _change(path: str, verb: str, arguments: dict[str, object], as_json: bool, *, wait: bool, timeout: float) -> None:
    """Ask for a change, show how far it has come, and how it has ended."""

    def on_progress(line: Reply) -> None:
        if not as_json:
            click.echo(f"{verb}: {line.get('text')}")

    answer = ask(path, verb, {**arguments, "wait": wait}, on_progress=on_progress, timeout=timeout)
    if as_json:
        _print_json({"ok": True, **answer})
    else:
        click.echo(f"{verb}: {answer.get('text')}")


def _status_or_silence(path: str) -> Reply:
    """The status of a service, or `busy` or `no answer` where it tells none."""
    try:
        answer = ask(path, "status")
        del answer["schema"]
        return {**answer, "socket": path}
    except VerbError as error:
        return silence(path, error)


def _show(answer: Reply, as_json: bool, report: Callable[[Reply], str]) -> None:
    if as_json:
        _print_json(answer)
    else:
        click.echo(report(answer))


def _print_json(content: Reply) -> None:
    click.echo(json.dumps({"schema": SCHEMA, **content}))
