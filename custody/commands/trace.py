"""`custody trace`: one record or object through the ledger, from its bytes in the raw bucket to what consumers read."""

import json
import sys
from typing import Annotated

import typer

from custody.audit.identifiers import named
from custody.audit.reader import AuditReader
from custody.deployment.target import find
from custody.executions import object_trace, record_trace
from custody.executions.links import Links
from custody.executions.pipeline import Pipeline
from custody.executions.timeline import Timelines
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, target_of
from custody.views import trace as views_trace

app = command_app()


@command(
    app,
    "custody trace mission/good.json",
    "custody trace RECORD",
    "custody trace RECORD --json",
    see="custody dead-letters show, custody verify, docs/architecture.md",
)
def trace(
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="A record id, an object id, or a key in the raw bucket; or any S3 URI, dead letter or execution ARN that "
            "Custody prints.",
        ),
    ],
    *,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Say what became of one record, and show its bytes before and after; or of one object, with its dead letters.

    Either way it tells of every execution that worked on it: each step, how long it took, and the errors of its tries.
    Exit code 1: nothing tells of it.
    """
    target = target_of(aws, profile)
    deployment = find(target, env)
    audit, pipeline = AuditReader(target.client("s3"), deployment.audit), Pipeline.of(target, deployment)
    timelines = Timelines(pipeline, Links.of(target, pipeline))
    with console.stderr.status("reading what is known of it"):
        asked = named(audit.s3, pipeline, deployment.raw, deployment.processed, wanted)
        if asked.position is None:
            told, page = object_trace.of_object(audit, timelines, asked), views_trace.whole
        else:
            told, page = record_trace.of_record(audit, timelines, asked.object_id, asked.position), views_trace.record
    if as_json:
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    page(told)
