"""The commands. Expected failures are one line on stderr and an exit code, never a traceback."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

import local
from custody import show
from custody.bring_up import bring_up
from custody.commands import letters, reconcile, redrive, verify
from custody.failure import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.following import Follower
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.target import FOLDER, ROOT, find

app = typer.Typer(
    help="Operate Custody: put objects in, and see what became of every record.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
def up(
    env: Env = "dev",
    persist: Annotated[bool, typer.Option("--persist", help="Keep what is on it over `down` and `up`.")] = False,
) -> None:
    """Start embedded AWS on this machine and deploy Custody onto it; quick when that is done already."""
    for step in bring_up(ROOT, FOLDER, env, persist=persist):
        show.stderr.print(f"{step} …")
    instance = local.find(FOLDER)
    if instance:
        show.console.print(f"Custody ({env}) is up on embedded AWS at {instance.endpoint}")


@app.command()
def down() -> None:
    """Stop embedded AWS; nothing else is left running."""
    stopped = local.stop(FOLDER)
    show.console.print("embedded AWS is stopped" if stopped else "embedded AWS was not up")


@app.command()
def status(env: Env = "dev", aws: Aws = False, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show where Custody is deployed, its rooms, and what is running or failed or undelivered."""
    target = target_of(aws, profile, changes=False)
    deployment = find(target, env)
    client = target.client("stepfunctions")
    counts = {
        state.lower(): len(
            client.list_executions(stateMachineArn=deployment.pipeline_arn, statusFilter=state)["executions"]
        )
        for state in ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
    }
    queue = target.client("sqs").get_queue_attributes(
        QueueUrl=deployment.undelivered_url, AttributeNames=["ApproximateNumberOfMessages"]
    )
    facts = {
        "target": target.name,
        "raw": deployment.raw,
        "processed": deployment.processed,
        "audit": deployment.audit,
        "pipeline": deployment.pipeline_arn,
        "executions": counts,
        "undelivered": int(queue["Attributes"]["ApproximateNumberOfMessages"]),
    }
    if as_json:
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
        return
    for name, fact in facts.items():
        said = ", ".join(f"{number} {state}" for state, number in fact.items()) if isinstance(fact, dict) else fact
        show.console.print(f"{name:<12} {said}", soft_wrap=True)


@app.command()
def put(  # noqa: PLR0913, PLR0917 - one parameter an option
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="The files to put into the raw bucket.")],
    key: Annotated[str | None, typer.Option(help="The key; the name of the file if not given.")] = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Do not wait for the outcome.")] = False,
    as_json: AsJson = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each outcome.")] = 600,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Put files into the raw bucket, and show what became of each record.

    Exit code 0: all were written. 3: each has an outcome, some are rejected. 1: some have none. 2: wrong usage.
    """
    if key and len(files) > 1:
        raise CommandFailed("--key names one object; put one FILE with it.", USAGE)
    if missing := [str(file) for file in files if not file.is_file()]:
        raise CommandFailed(f"Not a file: {', '.join(missing)}.", USAGE)
    target = target_of(aws, profile, changes=True)
    follower = Follower(target, find(target, env))
    sent = [follower.send(file, key or file.name) for file in files]
    if no_follow:
        for one in sent:
            line = json.dumps({"file": one.file, "object_id": one.raw.id, "execution": one.execution})
            show.console.print(line if as_json else f"{one.raw.key}  {one.raw.id}", soft_wrap=True, markup=False)
        return
    live = nullcontext() if as_json or not show.stderr.is_terminal else show.stderr.status("")
    with live as spinner:
        for one in sent:
            for whereabouts in follower.watch(one, timeout):
                if spinner:
                    spinner.update(f"{one.raw.key}: {whereabouts}")
    fates = [follower.fate(one) for one in sent]
    if as_json:
        sys.stdout.write(json.dumps({"objects": [fate.encode() for fate in fates]}, indent=2) + "\n")
    else:
        show.fates(fates)
    codes = {fate.code for fate in fates}
    worst = next(code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED, ALL_WRITTEN) if code in codes)
    raise typer.Exit(worst)


app.add_typer(letters.app, name="letters")
app.command()(verify.verify)
app.command()(redrive.redrive)
app.command()(reconcile.reconcile)


def run() -> None:
    """Run the command line, and say expected failures in a line."""
    try:
        app()
    except CommandFailed as failed:
        show.stderr.print(f"custody: {failed}", soft_wrap=True, markup=False)
        sys.exit(failed.code)
    except (local.LocalAwsError, BotoCoreError, ClientError) as error:
        show.stderr.print(f"custody: {error}", soft_wrap=True, markup=False)
        sys.exit(SOME_WITHOUT_OUTCOME)


if __name__ == "__main__":
    run()
