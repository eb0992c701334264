"""Regular expressions are compiled when they are needed first."""

import re
import subprocess
import sys

import pytest

from corehttp.patterns import pattern

ALWAYS = 3  # those of `protocols.fields`, which any first request and response needs

COUNTING = """
import re, sys
compiled, compile = [], re.compile

def counting(*arguments):
    if sys._getframe(1).f_globals["__name__"].startswith("corehttp"):
        compiled.append(arguments)
    return compile(*arguments)

re.compile = counting
import corehttp.{module}
print(len(compiled))
"""


def test_a_pattern_is_compiled_at_the_first_call_and_once() -> None:
    wrong = pattern("(")  # nothing happens yet
    with pytest.raises(re.error):
        wrong()
    digits = pattern(rb"[0-9]+")
    assert digits().fullmatch(b"12")
    assert digits() is digits()


@pytest.mark.parametrize("module", ["worker.process", "supervision"])
def test_a_process_compiles_no_pattern_at_its_start_that_few_services_need(module: str) -> None:
    code = COUNTING.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= ALWAYS
