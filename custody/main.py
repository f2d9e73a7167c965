"""The commands. Expected failures are one line on stderr and an exit code, never a traceback."""

import json
import os
import sys
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

import local
from custody import show, undelivered
from custody.bring_up import bring_up
from custody.commands import letters, reconcile, redrive, verify
from custody.executions import STATUSES, Pipeline
from custody.failure import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.following import Follower, Sent
from custody.interruption import INTERRUPTED, end_on_sigterm
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.target import FOLDER, ROOT, find

_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown", "RequestThrottled"}
)

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
    target = target_of(aws, profile)
    deployment = find(target, env)
    pipeline = Pipeline(target.client("stepfunctions"), deployment.pipeline_arn)
    counted = {state.lower(): pipeline.count(state) for state in STATUSES}
    sqs = target.client("sqs")
    queues = {"undelivered": deployment.undelivered_url, "unwritten": deployment.unwritten_url}
    facts = {
        "target": target.name,
        "raw": deployment.raw,
        "processed": deployment.processed,
        "audit": deployment.audit,
        "pipeline": deployment.pipeline_arn,
        "executions": {state: number for state, (number, _) in counted.items()},
    } | {name: undelivered.depth(sqs, url).total for name, url in queues.items()}
    if as_json:
        # A count stays a number; it is told apart where there are more.
        more = {"more_executions": [state for state, (_, is_more) in counted.items() if is_more]}
        sys.stdout.write(json.dumps(facts | more, indent=2) + "\n")
        return
    told = ", ".join(f"{number}{'+' if is_more else ''} {state}" for state, (number, is_more) in counted.items())
    for name, fact in (facts | {"executions": told}).items():
        show.console.print(f"{name:<12} {fact}", soft_wrap=True)


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
    if key == "":
        raise CommandFailed("--key is empty. Leave it out, and the name of the file is the key.", USAGE)
    if key and len(files) > 1:
        raise CommandFailed("--key names one object; put one FILE with it.", USAGE)
    if missing := [str(file) for file in files if not file.is_file()]:
        raise CommandFailed(f"Not a file: {', '.join(missing)}.", USAGE)
    target = target_of(aws, profile)
    follower = Follower(target, find(target, env))
    sent = [follower.send(file, key or file.name) for file in files]
    if no_follow:
        for one in sent:
            line = json.dumps({"file": one.file, "object_id": one.raw.id, "execution": one.execution})
            told = line if as_json else f"{visible(one.raw.key)}  {one.raw.id}"
            show.console.print(told, soft_wrap=True, markup=False)
        return
    _watch(follower, sent, timeout, live=not as_json and show.stderr.is_terminal)
    fates = [follower.fate(one) for one in sent]
    if as_json:
        sys.stdout.write(json.dumps({"objects": [fate.encode() for fate in fates]}, indent=2) + "\n")
    else:
        show.fates(fates)
    if late := [fate for fate in fates if not fate.has_ended]:
        show.stderr.print(
            f"{len(late)} of {len(fates)} did not end within {timeout:g} s, but may yet. See what became of them: "
            f"custody reconcile --since 1h; and if one has failed: custody letters show {late[0].sent.raw.id}",
            soft_wrap=True,
            markup=False,
        )
    codes = {fate.code for fate in fates}
    worst = next(code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED, ALL_WRITTEN) if code in codes)
    raise typer.Exit(worst)


def _watch(follower: Follower, sent: list[Sent], timeout: float, *, live: bool) -> None:
    """Wait until each has ended, or for so many seconds; if `live`, tell where it is."""
    with show.stderr.status("") if live else nullcontext() as spinner:
        for one in sent:
            for whereabouts in follower.watch(one, timeout):
                if spinner:
                    spinner.update(Text(f"{visible(one.raw.key)}: {whereabouts}"))


app.add_typer(letters.app, name="letters")
app.command()(verify.verify)
app.command()(redrive.redrive)
app.command()(reconcile.reconcile)


def run() -> None:
    """Run the command line, and say expected failures in a line."""
    end_on_sigterm()
    try:
        try:
            _refuse_foreign_text(sys.argv[1:])
            app()
        finally:
            # What cannot be written is to be known before it is too late to say so.
            sys.stdout.flush()
    except CommandFailed as failed:
        _end(str(failed), failed.code)
    except (local.LocalAwsError, BotoCoreError) as error:
        _end(str(error), SOME_WITHOUT_OUTCOME)
    except ClientError as error:
        _end(_told(error), SOME_WITHOUT_OUTCOME)
    except KeyboardInterrupt:
        _end("", INTERRUPTED)
    except BrokenPipeError:
        # Whoever read this has seen enough.
        _end("", SOME_WITHOUT_OUTCOME)
    except OSError as error:
        _end(str(error), SOME_WITHOUT_OUTCOME)


def _refuse_foreign_text(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise CommandFailed(f"An argument is not UTF-8: {visible(argument)}. Give it in UTF-8.", USAGE) from error


def _told(error: ClientError) -> str:
    """Say what AWS answered; and what to do, if it only wants fewer calls."""
    if error.response["Error"]["Code"] in _THROTTLED:
        return f"AWS takes no more calls just now, also not when asked again and again: {error}. Run it again later."
    return str(error)


def _end(said: str, code: int) -> NoReturn:
    """End with a line, if there is something to say; what is written and cannot be, is given up."""
    with suppress(OSError):
        if said:
            show.stderr.print(f"custody: {said}", soft_wrap=True, markup=False)
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    run()
