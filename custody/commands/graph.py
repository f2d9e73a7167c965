"""`custody graph`: a state machine as a picture, and the way that an execution took through it."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from custody import show
from custody.books import Books
from custody.dossier import Dossier
from custody.executions import Execution, Pipeline
from custody.failure import USAGE, CommandFailed
from custody.graphs.machines import Machine
from custody.graphs.pages import WIDTH, page
from custody.graphs.paths import path_of
from custody.graphs.shapes import Drawing
from custody.graphs.svg import svg
from custody.graphs.terminal import text
from custody.histories import Step, steps
from custody.naming import named
from custody.options import Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.stories import why_untold
from custody.target import Deployment, Target, find
from custody.times import took
from custody.trace_pages import counted

_STDOUT = Path("-")


class MachineName(StrEnum):
    """The state machines of a deployment."""

    PIPELINE = "pipeline"
    BULK = "bulk"


def graph(  # noqa: PLR0913 - one parameter an option
    wanted: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Draw the way of the latest execution of an object: a record id, an object id, or a key in the raw "
            "bucket; or any S3 URI, letter or execution ARN that Custody prints.",
            show_default=False,
        ),
    ] = None,
    *,
    machine: Annotated[
        MachineName | None,
        typer.Option(
            metavar="|".join(MachineName),
            help="Without an ID: which machine, pipeline if none is said.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG, - for standard output.")
    ] = None,
    without_times: Annotated[
        bool, typer.Option("--no-times", help="Leave out how long it took: the same way is then the same picture.")
    ] = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Draw the deployed state machine or, of an object, the one that its latest execution ran on and the way it took.

    Exit code 1: the object has no execution, or none of which Step Functions still tells.
    """
    if wanted is not None and machine is not None:
        raise CommandFailed("The object says which machine it is. Leave --machine out, or the ID.", USAGE)
    target = target_of(aws, profile)
    deployment = find(target, env)
    pipeline = Pipeline.of(target, deployment)
    width = min(WIDTH, show.console.width) if out is None else WIDTH
    with show.stderr.status("reading the state machine"):
        if wanted is None:
            drawing = page(_deployed(pipeline, machine or MachineName.PIPELINE), width=width)
        else:
            known = _known(target, deployment, pipeline, wanted)
            drawing = _of_object(pipeline, known, width, has_times=not without_times)
    _put(drawing, out)


def _deployed(pipeline: Pipeline, which: MachineName) -> Machine:
    arn = pipeline.bulk_arn if which is MachineName.BULK else pipeline.arn
    return Machine.read(which, json.loads(pipeline.client.describe_state_machine(stateMachineArn=arn)["definition"]))


def _known(target: Target, deployment: Deployment, pipeline: Pipeline, wanted: str) -> Dossier:
    """Read what is known of an object that has an execution; raise CommandFailed if there is none to be drawn."""
    books = Books(target.client("s3"), deployment.audit)
    known = Dossier.read(books, pipeline, named(books.s3, pipeline, deployment.raw, deployment.processed, wanted))
    if not known.executions:
        raise CommandFailed(_undrawn(known, wanted))
    return known


def _of_object(pipeline: Pipeline, known: Dossier, width: int, *, has_times: bool) -> Drawing:
    """Draw the machine that the latest execution of an object runs or ran on, and its way."""
    execution = known.executions[-1]
    which = MachineName.BULK if pipeline.is_bulk(execution.arn) else MachineName.PIPELINE
    described = pipeline.client.describe_state_machine_for_execution(executionArn=execution.arn)
    machine = Machine.read(which, json.loads(described["definition"]))
    entered = steps(pipeline.events(execution.arn))
    way = path_of(machine, entered, _runs(pipeline, entered), has_times=has_times)
    return page(machine, way, _said(known.raw.key, execution, has_times=has_times), width)


def _undrawn(known: Dossier, wanted: str) -> str:
    if known.run.arn is None:
        return (
            f"{wanted} has no execution yet: its event is under way, or lost. See what became of it: custody reconcile."
        )
    return (
        f"The execution {known.run.arn} cannot be drawn: {why_untold(known.untold)}. What the books tell is in "
        "`custody trace`, and `custody graph` without an ID draws the machine as it is now."
    )


def _runs(pipeline: Pipeline, entered: tuple[Step, ...]) -> dict[str, str]:
    """Tell of the chunks of each distributed Map: those of its latest run."""
    latest = {step.name: each.map_run for step in entered for each in step.tries if each.map_run}
    found = {name: pipeline.items_of(run) for name, run in latest.items()}
    return {name: counted(items, "chunk") for name, items in found.items() if items}


def _said(key: str, execution: Execution, *, has_times: bool) -> str:
    redriven = f"redriven {execution.redrives} time{'' if execution.redrives == 1 else 's'}"
    parts = [
        f"{key}: {execution.status}",
        execution.error or "",
        redriven if execution.redrives else "",
        took(execution.seconds) if has_times else "",
    ]
    return ", ".join(filter(None, parts))


def _put(drawing: Drawing, out: Path | None) -> None:
    if out is None:
        shown = text(drawing, is_ascii=show.console.options.ascii_only)
        show.console.print(shown, soft_wrap=True)
    elif out == _STDOUT:
        sys.stdout.write(svg(drawing))
    else:
        try:
            out.write_text(svg(drawing), encoding="utf-8", newline="\n")
        except OSError as error:
            raise CommandFailed(
                f"{visible(str(out))} was not written: {error.strerror}. Name a file in a folder that is there, that "
                "you may write to, and that has room."
            ) from error
        show.stderr.print(f"{visible(str(out))}: the picture is written", soft_wrap=True, markup=False)
