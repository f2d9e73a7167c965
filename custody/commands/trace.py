"""`custody trace`: follow one record or object from the raw bucket to what consumers read."""

from typing import Annotated

import typer

from custody.audit.trace import trace as trace_subject
from custody.executions.timeline import Timelines
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson
from custody.views import trace as view

app = command_app()


@command(
    app,
    "custody trace mission/good.json",
    "custody trace RECORD",
    "custody trace RECORD --json",
    see="custody dead-letters show, custody verify, docs/architecture.md",
)
def trace(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A record id, an object id or a key in the raw bucket; or any S3 URI, dead letter id or execution ARN "
            "that Custody prints.",
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the outcome of a record with its bytes before and after, or the outcome and dead letters of an object.

    Either way, show every execution that processed it: each step, its duration, and the error of each failed try.
    Exit code 1: it has no outcome yet. 2: there is nothing with this name.
    """
    with console.progress(lambda: "reading the ledger and executions"):
        timelines = Timelines(session.pipeline, session.links)
        traced = trace_subject(session.audit, timelines, session.resolve(name))
    if as_json:
        console.write_json(traced)
    else:
        view.trace(traced, session.links)
