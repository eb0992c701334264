"""Completion of the command in bash, zsh and fish: options where something is served, verbs, and their options."""

from click import Context, Group, Option
from click.shell_completion import CompletionItem

from corehttp.command import command
from corehttp.control.verbs import verbs

VARIABLE = "_COREHTTP_COMPLETE"  # what the shell sets, as click has it


def complete() -> None:
    """Answer the shell that asks what a line of the command can go on with, and end this process."""
    everything().main(prog_name="corehttp", complete_var=VARIABLE)


def everything() -> Group:
    """Return a command that has both the options of what serves an application and the verbs. It only completes."""
    options = [parameter for parameter in command().params if isinstance(parameter, Option)]
    return _Everything("corehttp", params=list(options), commands=dict(verbs.commands))


class _Everything(Group):
    """Offers verbs only where one can stand: as the first word."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse as click does, and note whether a word comes before the one that is completed."""
        self._is_first = not args
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Return what the word can go on with; verbs only if it is the first one."""
        found = super().shell_complete(ctx, incomplete)
        return [item for item in found if self._is_first or item.value not in self.commands]
