"""The contract tests run over both parsers."""

import pytest

from corehttp.protocols.parser_h11 import H11Parser
from corehttp.protocols.parser_httptools import HttptoolsParser
from tests.fakes import MakeParser


@pytest.fixture(params=[HttptoolsParser, H11Parser], ids=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> MakeParser:
    chosen: MakeParser = request.param
    return chosen
