"""The first words of the command that are verbs. Whatever else comes first is served."""

STEERING = (  # what sees and steers running services
    *("list", "status", "top", "requests", "stacks", "config", "logs"),
    *("reload", "scale", "restart", "stop", "reopen", "send"),
)
VERBS = (*STEERING, "migrate", "systemd-unit")
OTHER_NAMES = {"ls": "list", "ps": "list", "monit": "top", "describe": "status", "show": "status"}
# Verbs of other tools, and what does here what they do there.
_OTHERS = dict.fromkeys(("start", "run", "serve"), "corehttp main:app`, without a verb")
_OTHERS |= {"kill": "corehttp stop`", "delete": "corehttp stop`", "startup": "corehttp systemd-unit`"}
_OTHERS |= {"dev": "corehttp main:app --reload`", "help": "corehttp --help`", "version": "corehttp --version`"}
_LIKENESS = 0.7  # the ratio of difflib from which on a word is taken for a mistyped verb; that of `relaod` is 0.83


def is_verb(word: str) -> bool:
    """Whether the word is a verb, or another name of one."""
    return word in VERBS or word in OTHER_NAMES


def meant_verb(word: str) -> str:
    """Return the question which verb is meant by a word that is neither a verb nor an application.

    Empty text if the word is like no verb.
    """
    from difflib import get_close_matches  # here, since only a mistake needs it

    if word in _OTHERS:
        return f"did you mean `{_OTHERS[word]}?"
    close = get_close_matches(word.lower(), (*VERBS, *OTHER_NAMES), 1, _LIKENESS)
    return f"did you mean the verb, `corehttp {close[0]}`?" if close else ""
