"""The kind of the option that ties requests to workers. Pure."""

from collections.abc import Sequence

from corehttp.option_kinds import OptionKind

_ADDRESS = "ip"  # as `_rules` writes it


def _rules(value: object) -> tuple[str, ...]:
    """Return the rules, of which text, as in the environment, has one in each line. Raises ValueError."""
    rules = value.splitlines() if isinstance(value, str) else value
    if not isinstance(rules, list | tuple) or not all(isinstance(rule, str) for rule in rules):
        raise ValueError
    if not rules:
        return ()
    from corehttp.protocols.sticky_keys import parse_rule  # here, since few services need it

    return tuple(str(parse_rule(rule)) for rule in rules)


STICKY = OptionKind(
    _rules,
    "ip, cookie, cookie:NAME, header:NAME or query:NAME (for several, give the option again, or one in each line)",
    is_list=True,
    placeholder="KEY",
)


def is_tied_by_address(rules: Sequence[str]) -> bool:
    """Whether the first value of the option is the address of the client, which every client over TCP has."""
    return bool(rules) and rules[0] == _ADDRESS
