"""Copies of certificates and keys that were good, for a worker that starts while the files themselves are not.

They are in memory alone: the memory that processes share is a file without a name elsewhere than on Linux
(`memory_file`), and OpenSSL reads keys by their paths alone, which files in memory have only there.
"""

import contextlib
import sys
from collections.abc import Iterator

from corehttp.ipc.codec import dump, load
from corehttp.ipc.memory_file import memory_file
from corehttp.tls.pem_files import read
from corehttp.tls.settings import TlsSettings, files, paths, relocated

CAN_KEEP = sys.platform == "linux"  # whether copies can be kept, and used


def copied(settings: TlsSettings) -> bytes:
    """Return the content of all files that `settings` names, for `copies`. Raises StartupError."""
    return dump({path: read(option, path) for option, path in files(settings)})


@contextlib.contextmanager
def copies(settings: TlsSettings, content: bytes) -> Iterator[TlsSettings | None]:
    """Yield the same settings with the paths of copies, which are there while the context is entered.

    Yields None where `content` is not of all of these files, and where copies cannot be kept. Raises OSError.
    """
    found = _files(content)
    wanted = dict.fromkeys(paths(settings))
    if not CAN_KEEP or not all(path in found for path in wanted):
        yield None
        return
    with contextlib.ExitStack() as stack:
        places = {path: stack.enter_context(memory_file(found[path])) for path in wanted}
        yield relocated(settings, lambda path: f"/proc/self/fd/{places[path].fileno()}")


def _files(content: bytes) -> dict[str, bytes]:
    """Return the content of each file by its path, of bytes that another worker has written; nothing of any others."""
    try:
        found = load(content)
    except ValueError:
        return {}
    kept = found.items() if isinstance(found, dict) else ()
    return {path: data for path, data in kept if isinstance(path, str) and isinstance(data, bytes)}
