"""`custody executions`: what runs and what ran, newest first."""

from functools import partial
from typing import Annotated

import typer

from custody.audit.object_state import committed_totals
from custody.executions.listing import ExecutionLister, ExecutionsDocument
from custody.executions.pipeline import STATUSES
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Since, Until
from custody.views import executions as view

app = command_app()


def parse_status(text: str) -> str:
    """Parse the value of --status, in any case; raise typer.BadParameter."""
    status = text.upper().replace("-", "_")
    if status not in STATUSES:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(STATUSES)}")
    return status


@command(
    app,
    "custody executions",
    "custody executions --status failed --limit 5",
    see="custody trace, custody dead-letters",
)
def executions(
    session: Session,
    *,
    status: Annotated[
        str | None, typer.Option(parser=parse_status, metavar="STATUS", help=f"Only {', '.join(STATUSES)}.")
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List executions, newest first: object, status, duration, records and error.

    `--since` and `--until` refer to the start of an execution.
    """
    lister = ExecutionLister(session.pipeline, session.links, partial(committed_totals, session.audit))
    arns = lister.newest(limit + 1, status, since, until)
    total, more = len(arns[:limit]), len(arns) > limit
    rows = list(
        console.watched(lister.describe(arns[:limit]), lambda number: f"{number:,} of {total:,} executions read")
    )
    if as_json:
        console.write_json(ExecutionsDocument(rows, more))
    elif rows:
        view.executions(rows)
        if more:
            console.warn(f"These are the newest {len(rows):,}. To see older ones, add --limit N or --until TIME.")
    else:
        when = " in that time" if since or until else ""
        console.print_line(f"No executions{f' with status {status}' if status else ''}{when}.")
