"""The process of the child that watches files: what the supervisor starts for `--reload`, with one end of a channel.

Nothing of the application is imported here. The system tells of changes through watchfiles; without that package, where
it cannot watch, and where WATCHFILES_FORCE_POLLING in the environment asks for it, all files are looked at.
"""

import contextlib
import importlib.util
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from corehttp.config import Config
from corehttp.errors import ExitCode
from corehttp.ipc.channel import Channel
from corehttp.ipc.message_stream import GarbledError
from corehttp.ipc.messages import VERSION, Boot, Changed, WatchSince
from corehttp.logs import set_up
from corehttp.standard_streams import open_standard_streams
from corehttp.watching.places import named_directories, watched_directories
from corehttp.watching.polling import LONGEST_BURST, QUIET, Polling
from corehttp.watching.selection import Selection

logger = logging.getLogger("corehttp.supervisor")

QUIET_LOOK = 1000  # milliseconds for which the system has told of no change, after which files are looked at anyway
MOST_NAMED = 3  # how many changed files are named
# Yields for ever whether something has changed below some directories: after each burst of changes True, after a while
# without any False.
Watch = Callable[[Sequence[str]], Iterator[bool]]


def main(channel_fd: int) -> int:
    """Tell the supervisor of changes until it ends this process; return the exit code if there is no supervisor."""
    open_standard_streams()
    channel = Channel.adopt(channel_fd)
    try:
        boot = channel.wait_for_message()
        if not isinstance(boot, Boot) or boot.version != VERSION:
            return ExitCode.STARTUP
        known = channel.wait_for_message()
    except (EOFError, OSError, GarbledError):
        return ExitCode.STARTUP
    if not isinstance(known, WatchSince):
        return ExitCode.STARTUP
    channel.die_with_other_end()
    config = Config(**boot.config)  # type: ignore[arg-type]
    set_up(config.log_level, config.log_format, "watcher", config.log_file, config.use_colors)
    with contextlib.suppress(OSError):
        os.chdir(boot.directory)
    for changed in changes(config, boot.path, known.moment / 1e9):
        for path in changed:
            forget_compiled(path)
        channel.send(Changed(told(changed)))
    return ExitCode.CLEAN


def changes(config: Config, path: list[str], since: float) -> Iterator[set[str]]:
    """Yield the paths of changed files, each time those of one burst, for ever.

    `path` is the import path of the application. Files that have changed from `since` on (seconds since the epoch)
    count, too: a worker may have read them before, and the watcher before this one has not told of them.
    """
    watch, how = watcher()
    sys.path[:] = path
    named = named_directories([*config.reload_dir, *config.reload_include])
    directories = watched_directories(named, config.app, config.app_dir)
    logger.info("watching %s for changes (%s)", ", ".join(directories), how)
    polling = Polling(directories, _selection(config))
    pause = _poll_seconds(config.reload_delay)
    if found := polling.changed_since(since):
        yield found
    if watch is not None:
        try:
            for heard in watch(directories):
                # A look also finds what the system does not tell: files of a directory that was renamed, and those
                # behind a symbolic link.
                if found := polling.burst(time.sleep) if heard else polling.glance(time.sleep):
                    yield found
                    time.sleep(config.reload_delay)
        except Exception as error:  # of the Rust part, as when inotify has no room for more
            logger.warning("the system cannot watch the files (%s): they are looked at every %g s", error, pause)
    while True:
        yield polling.wait(pause, time.sleep)


def _selection(config: Config) -> Selection:
    """Return which files count by the options, in which an entry that is a directory is no pattern."""
    return Selection(
        [pattern for pattern in config.reload_include if not os.path.isdir(pattern)],
        [pattern for pattern in config.reload_exclude if not os.path.isdir(pattern)],
        named_directories(config.reload_exclude),
    )


def watcher() -> tuple[Watch | None, str]:
    """Return what tells of changes through the system, and how the log calls it; None where there is no such thing."""
    if _is_polling_forced():
        return None, "polling"
    try:
        from watchfiles import watch
    except ModuleNotFoundError:
        return None, "polling; it is quicker with watchfiles: pip install watchfiles"
    except ImportError as error:  # of its compiled part, as for another system or release of Python
        return None, f"polling, since watchfiles cannot be imported: {error}"

    def watch_with(directories: Sequence[str]) -> Iterator[bool]:
        return map(
            bool,
            watch(
                *directories,
                watch_filter=None,
                rust_timeout=QUIET_LOOK,
                yield_on_timeout=True,
                debounce=round(LONGEST_BURST * 1000),
                step=round(QUIET * 1000),
                force_polling=False,
                ignore_permission_denied=True,
            ),
        )

    return watch_with, "watchfiles"


def _is_polling_forced() -> bool:
    """Whether the environment, or the system, asks for polling, by the rules of watchfiles."""
    wish = os.environ.get("WATCHFILES_FORCE_POLLING", "")
    if wish:
        return wish.lower() not in ("false", "disable", "disabled")
    return "microsoft-standard" in platform.uname().release  # WSL tells of no changes that Windows makes


def _poll_seconds(delay: float) -> float:
    """Seconds between two looks at all files: what WATCHFILES_POLL_DELAY_MS says, else `delay`, but no busy loop."""
    wish = os.environ.get("WATCHFILES_POLL_DELAY_MS", "")
    return max(0.01, int(wish) / 1000 if wish.isdecimal() else delay)


def forget_compiled(path: str) -> None:
    """Remove what Python has compiled of a source file that has changed.

    Compiled code counts as that of the source while this has the same size and the same time in whole seconds, so a
    second save within a second might have no effect.
    """
    if path.endswith(".py"):
        with contextlib.suppress(OSError, NotImplementedError, ValueError):
            os.unlink(importlib.util.cache_from_source(path))


def told(paths: set[str]) -> str:
    """Return which files have changed, as text for a log line: some of them by their paths from here."""
    here = os.path.join(os.getcwd(), "")
    names = [path.removeprefix(here) for path in sorted(paths)]
    some = [name.encode("utf-8", "backslashreplace").decode()[:200] for name in names[:MOST_NAMED]]
    more = len(names) - len(some)
    if more:
        return f"{', '.join(some)} and {more} more files have changed"
    return f"{', '.join(some)} {'has' if len(some) == 1 else 'have'} changed"
