"""The pages of the manual: what `--help` says of each command beside its options, and in which order.

Every example is a command line that works as it stands once `make run` is done; NAME in capitals is to be filled in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup, TyperOption

FIRST = """[bold]custody[/] puts JSON records into a pipeline, and says what became of every single one of them.

It talks to embedded AWS when that is up, and to an AWS account only when told to, by --aws or --profile NAME. \
What is asked for goes to standard output, as a table or, with --json, as one JSON document; all else goes to standard \
error."""

LAST = """[bold]An ID[/] is a record id, an object id, or a key in the raw bucket; or the URI, dead letter or execution \
that a command has printed.

[bold]Exit codes[/]
  0  all is well: every record is written
  1  something has no outcome, is broken or missing, or could not be done
  2  the command was called wrongly; nothing was changed
  3  every record has an outcome, and some are rejected

[bold]Environment[/]
  CUSTODY_ENV      the environment, as by --env; dev if unset
  CUSTODY_AWS      1 stands for --aws
  CUSTODY_PROFILE  stands for --profile NAME
  CUSTODY_FOLDER   where embedded AWS keeps its files; .custody if unset
  AWS_REGION and all else that the AWS SDK reads, for an AWS account

[bold]Files[/]
  docs/runbook.md  from an alarm to the commands that fix its cause
  docs/cli/        the schema of each JSON document

[bold]Completion[/]
  custody --install-completion"""


@dataclass(frozen=True)
class Page:
    """What the manual says of a command.

    The panel that it stands in, a line for the list of commands, what one would type, and what to read besides.
    """

    panel: str
    summary: str
    examples: tuple[str, ...]
    see: tuple[str, ...]

    @property
    def epilog(self) -> str:
        """Give what stands below the options."""
        lines = "\n".join(f"  {escape(example)}" for example in self.examples)
        return f"[bold]Examples[/]\n{lines}\n\n[bold]See also[/] {', '.join(self.see)}"


_SEND, _LOOK, _MEND, _PROVE, _HOLD = "Send", "Look", "Mend", "Prove", "Deployments"

PAGES = {
    "put": Page(
        _SEND,
        "Put files into the raw bucket, and say what became of them.",
        (
            "custody put samples/objects/good.json",
            "custody put samples/objects/good.json --key mission/2026/good.json",
            "custody put samples/objects/lines.jsonl --no-wait --json",
        ),
        ("custody trace", "custody dead-letters"),
    ),
    "backfill": Page(
        _SEND,
        "Start what lies in the raw bucket already, or all once more.",
        (
            "custody backfill --dry-run",
            "custody backfill --prefix mission/ --rate 5",
            "custody backfill --again --prefix mission/2026/",
        ),
        ("custody reconcile", "custody redrive", "docs/existing-data.md"),
    ),
    "status": Page(
        _LOOK,
        "Show the buckets of a deployment, and what runs, failed, or waits.",
        ("custody status", "custody status --json"),
        ("custody executions", "docs/aws-cli.md"),
    ),
    "executions": Page(
        _LOOK,
        "List what runs and what ran, the newest first.",
        ("custody executions", "custody executions --status failed --limit 5"),
        ("custody trace", "custody dead-letters"),
    ),
    "trace": Page(
        _LOOK,
        "Tell the story of one record, or of one object.",
        ("custody trace mission/good.json", "custody trace RECORD", "custody trace RECORD --json"),
        ("custody dead-letters show", "custody verify", "docs/architecture.md"),
    ),
    "dead-letters": Page(
        _MEND,
        "List what failed and is not settled; show or discard one.",
        (
            "custody dead-letters --since 24h",
            "custody dead-letters --all --error RecordsRejected",
            "custody dead-letters show LETTER",
        ),
        ("custody redrive", "docs/runbook.md"),
    ),
    "dead-letters show": Page(
        _MEND,
        "Show one dead letter, and point at what is wrong in it.",
        ("custody dead-letters show LETTER", "custody dead-letters show LETTER --all-records --json"),
        ("custody trace", "custody redrive"),
    ),
    "dead-letters discard": Page(
        _MEND,
        "Give up the records of a dead letter; the ledger keeps why.",
        ('custody dead-letters discard LETTER --reason "a test file"',),
        ("custody redrive", "docs/runbook.md"),
    ),
    "redrive": Page(
        _MEND,
        "Do the work of open dead letters again, where it failed.",
        (
            "custody redrive --open --dry-run",
            "custody redrive --error AccessRefused --since 24h",
            "custody redrive LETTER",
        ),
        ("custody dead-letters", "docs/runbook.md"),
    ),
    "reconcile": Page(
        _PROVE,
        "Say what became of every object; start what is missing.",
        ("custody reconcile --since 24h", "custody reconcile --prefix mission/ --start"),
        ("custody verify", "custody redrive", "docs/runbook.md"),
    ),
    "verify": Page(
        _PROVE,
        "Recompute the hashes of what came and of what was delivered.",
        ("custody verify --since 24h", "custody verify RECORD --json"),
        ("custody reconcile", "docs/runbook.md"),
    ),
    "destroy": Page(
        _HOLD,
        "Take an environment away, and name what is left of it.",
        ("custody destroy --dry-run", "custody destroy --env staging"),
        ("custody down", "docs/deploy.md"),
    ),
    "up": Page(
        _HOLD,
        "Start embedded AWS on this machine, and deploy onto it.",
        ("custody up", "custody up -c tolerated_rejects_percent=5"),
        ("custody status", "docs/deploy.md"),
    ),
    "down": Page(_HOLD, "Stop embedded AWS; nothing else is left running.", ("custody down",), ("custody up",)),
}
"""Of each command, by its name; in the order in which they are listed."""


class Command(TyperCommand):
    """A command whose help names what an option takes as one would say it, and nothing where it takes nothing.

    What its docstring says is folded anew, to the width of the terminal.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        paragraphs = cleandoc(self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    def get_params(self, ctx: Any) -> list[Any]:
        """Give the parameters, with `--help` among them."""
        return _named(super().get_params(ctx))


class Group(TyperGroup):
    """A command of which others are parts: they are listed as the manual has them."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Give the parameters, with `--help` among them."""
        return _named(super().get_params(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """Give the names of the commands in the order of their pages."""
        order = [name.rpartition(" ")[2] for name in PAGES]
        return sorted(super().list_commands(ctx), key=lambda name: order.index(name) if name in order else len(order))


def _named(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.metavar is None:
            parameter.metavar = _metavar(parameter)
    return parameters


def _metavar(option: TyperOption) -> str:
    if option.is_flag:
        return ""
    return "N" if option.type_descriptor.annotation in (int, float) else str(option.name).upper()


def add(app: typer.Typer, name: str, function: Callable[..., None], *, under: str = "") -> None:
    """Make a function a command of an app, with its page; `under` is the command of which it is a part."""
    page = PAGES[f"{under} {name}".strip()]
    app.command(name=name, cls=Command, rich_help_panel=page.panel, short_help=page.summary, epilog=page.epilog)(
        function
    )


def add_group(app: typer.Typer, name: str, group: typer.Typer) -> None:
    """Make an app a command of another one, with its page."""
    page = PAGES[name]
    app.add_typer(group, name=name, cls=Group, rich_help_panel=page.panel, short_help=page.summary, epilog=page.epilog)
