"""A fuzzer for one connection: `make fuzz`, or the following.

python -m tests.fuzz.fuzz_connection DIRECTORY... [-max_total_time=60 and other options of libFuzzer]
python -m tests.fuzz.fuzz_connection FILE...     replay what was found

It looks for input over which the parsers or the cuts disagree; see `tests.kit.agreement`.
"""

import asyncio
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.conversation import Conversation

CASES = Path(__file__).parent.parent / "protocols" / "cases"
INSTRUMENTED = ["corehttp.protocols", "corehttp.errors"]


def fuzz() -> None:
    """Runs until an option of libFuzzer or a finding ends the process."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.conversation import from_cases, understand

    directory = Path(next((argument for argument in sys.argv[1:] if argument[:1] != "-"), "."))
    if directory.is_dir() and not any(directory.iterdir()):
        for number, seed in enumerate(from_cases()):
            (directory / f"case-{number}").write_bytes(seed)
    loop = asyncio.new_event_loop()

    def hold(data: bytes) -> None:
        loop.run_until_complete(understand(data).hold())

    atheris.Setup(sys.argv, hold)
    atheris.Fuzz()


def replay(file: Path) -> None:
    """Show what a file of the fuzzer means, and raise what it raises."""
    from tests.fuzz.conversation import understand

    conversation = understand(file.read_bytes())
    show(conversation)
    asyncio.run(conversation.hold())


def show(conversation: "Conversation") -> None:
    out = sys.stdout
    out.write(f"{conversation.style}, {conversation.limits}\n")
    for piece, same in groupby(conversation.pieces):
        number = len(list(same))
        out.write(f"    {piece!r}\n" * number if piece else f"    ({number} turns of the event loop)\n")
    out.flush()


if __name__ == "__main__":
    files = [Path(argument) for argument in sys.argv[1:]]
    if files and all(file.is_file() for file in files):
        for file in files:
            replay(file)
    else:
        fuzz()
