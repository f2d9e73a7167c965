"""The command line: a list of commands, each imported when it is invoked, and the exit code of what fails."""

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.terminal.commands import Command, Group
from custody.terminal.explain import explain
from custody.terminal.signals import INTERRUPTED, end_on_sigterm
from custody.terminal.text import visible

_HELP = """Send JSON records through the pipeline, and account for every one of them.

Commands talk to embedded AWS if it is running, and to an AWS account only with --aws or --profile NAME. Results go to
standard output, as a table or, with --json, as one JSON document; everything else goes to standard error."""

_EPILOG = """An ID is a record id, an object id or a key in the raw bucket; or any URI, dead letter or execution ARN
that a command prints.

\b
Exit codes:
  0  success: every record was written
  1  something has no outcome, is broken or missing, or failed
  2  the command was called incorrectly, or an ID names nothing; nothing was changed
  3  every record has an outcome, and some were rejected

\b
Environment variables:
  CUSTODY_ENV      the environment, like --env; dev by default
  CUSTODY_AWS      set to 1, like --aws
  CUSTODY_PROFILE  like --profile NAME
  CUSTODY_FOLDER   where embedded AWS keeps its files; .custody by default
  AWS_REGION       and everything else that the AWS SDK reads

\b
Files:
  docs/runbook.md  from an alarm to the commands that fix its cause
  docs/cli/        the schema of each JSON document

Shell completion: custody --install-completion"""


_PANELS = {
    "Send and inspect": {
        "put": "Upload files and report the outcome of each record.",
        "executions": "List executions, newest first.",
        "trace": "Show the history of one record or object.",
    },
    "Recover": {
        "dead-letters": "List, show or discard dead letters.",
        "redrive": "Retry open dead letters from the step that failed.",
    },
    "Audit": {
        "reconcile": "Check that every object was processed; start missing ones.",
        "verify": "Check raw and processed data against the ledger's hashes.",
        "backfill": "Start objects that were never processed, or all of them.",
    },
    "Environments": {
        "status": "Show buckets, queues and executions of a deployment.",
        "up": "Start embedded AWS on this machine and deploy to it.",
        "down": "Stop embedded AWS.",
        "destroy": "Delete an environment and list what is left of it.",
    },
}
COMMANDS = {name: summary for panel in _PANELS.values() for name, summary in panel.items()}
"""The summary of each command, in listing order; `custody/commands/` has a module for each."""


def load(name: str) -> TyperCommand | Group:
    """Import a command."""
    loaded: Any = typer.main.get_command(import_module(f"custody.commands.{name.replace('-', '_')}").app)
    loaded.name = name
    return loaded  # type: ignore[no-any-return]  # a Command or a Group, as command_app makes them


class _Commands(Group):
    """All commands, as placeholders until one is invoked: importing them takes longer than showing help."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands.update({name: Command(name, help=summary) for name, summary in COMMANDS.items()})

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as Typer calls it
        """Write the commands under their headings, in aligned columns."""
        width = max(map(len, COMMANDS))
        for heading, panel in _PANELS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in panel.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command that is invoked or completed, and import it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest


app = typer.Typer(
    cls=_Commands,
    help=_HELP,
    epilog=_EPILOG,
    # Rendering with Rich would take longer than everything else; pages of commands are in Markdown.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:  # noqa: FBT001 - a callback of Typer
    if requested:
        from importlib.metadata import version  # noqa: PLC0415 - it takes longer to import than the rest

        sys.stdout.write(f"custody {version('custody')}\n")
        raise typer.Exit


@app.callback()
def custody(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Accept the options that precede a command."""


def run() -> None:
    """Run the command line; expected failures become one line on stderr and an exit code, never a traceback."""
    end_on_sigterm()
    if isinstance(sys.stdout, TextIOWrapper):
        # Characters that the output's encoding lacks appear as escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            _require_utf8(sys.argv[1:])
            app()
        finally:
            # Otherwise Python would flush when it exits, too late to report a failure.
            sys.stdout.flush()
    except CommandFailed as failure:
        _exit(str(failure), failure.code, failure.log)
    except KeyboardInterrupt:
        _exit("", INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough.
        _exit("", SOME_WITHOUT_OUTCOME)
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        _exit(message, SOME_WITHOUT_OUTCOME)


def _require_utf8(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise CommandFailed(f"Argument {argument} is not UTF-8. Pass it as UTF-8.", USAGE) from error


def _exit(message: str, code: int, log: Iterable[str] = ()) -> NoReturn:
    """Exit with a message, if there is one, and a log; output that cannot be written any more is dropped."""
    with suppress(OSError):
        if message:
            sys.stderr.writelines(f"{visible(line)}\n" for line in (f"custody: {message}", *log))
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
