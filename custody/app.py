"""The commands. Expected failures are one line on stderr and an exit code, never a traceback."""

import json
import os
import sys
from contextlib import suppress
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer
from botocore.exceptions import BotoCoreError, ClientError

import local
from custody.commands import backfill, dead_letters, destroy, executions, put, reconcile, redrive, trace, verify
from custody.deployment.embedded import bring_up
from custody.deployment.target import FOLDER, ROOT, find
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.executions.pipeline import STATUSES, Pipeline
from custody.recovery import event_queue
from custody.terminal import console, help_pages
from custody.terminal.options import AsJson, Aws, Env, Profile, target_of
from custody.terminal.signals import INTERRUPTED, end_on_sigterm
from custody.terminal.text import visible

_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "SlowDown", "RequestThrottled"}
)

app = typer.Typer(
    cls=help_pages.Group,
    help=help_pages.FIRST,
    epilog=help_pages.LAST,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:  # noqa: FBT001 - as the option came
    if asked:
        sys.stdout.write(f"custody {version('custody')}\n")
        raise typer.Exit


@app.callback()
def custody(
    _: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """Take what stands before any command."""


def up(
    env: Env = "dev",
    settings: Annotated[
        list[str] | None,
        typer.Option("-c", "--context", metavar="NAME=VALUE", help="A setting, as `cdk deploy` takes it; any number."),
    ] = None,
    persist: Annotated[bool, typer.Option("--persist", help="Keep what is on it over `down` and `up`.")] = False,
) -> None:
    """Start embedded AWS on this machine and deploy Custody onto it; quick when that is done already."""
    for step in bring_up(ROOT, FOLDER, env, settings or [], persist=persist):
        console.stderr.print(f"{step} …")
    instance = local.find(FOLDER)
    if instance:
        console.console.print(f"Custody ({env}) is up on embedded AWS at {instance.endpoint}")


def down() -> None:
    """Stop embedded AWS; nothing else is left running."""
    stopped = local.stop(FOLDER)
    console.console.print("embedded AWS is stopped" if stopped else "embedded AWS was not up")


def status(env: Env = "dev", aws: Aws = False, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show where Custody is deployed, its buckets, and what is running or failed or start-dlq."""
    target = target_of(aws, profile)
    deployment = find(target, env)
    pipeline = Pipeline.of(target, deployment)
    counted = {state.lower(): pipeline.count(state) for state in STATUSES}
    sqs = target.client("sqs")
    queues = {"start-dlq": deployment.start_dlq_url, "dead-letter-dlq": deployment.dead_letter_dlq_url}
    if deployment.buffer_url:
        queues = {"buffer": deployment.buffer_url} | queues
    facts = {
        "target": target.name,
        "raw": deployment.raw,
        "processed": deployment.processed,
        "audit": deployment.audit,
        "pipeline": deployment.pipeline_arn,
        "bulk": deployment.bulk_arn,
        "executions": {state: number for state, (number, _) in counted.items()},
    } | {name: event_queue.depth(sqs, url).total for name, url in queues.items()}
    if as_json:
        # A count stays a number; it is told apart where there are more.
        more = {"more_executions": [state for state, (_, is_more) in counted.items() if is_more]}
        sys.stdout.write(json.dumps(facts | more, indent=2) + "\n")
        return
    told = ", ".join(f"{number}{'+' if is_more else ''} {state}" for state, (number, is_more) in counted.items())
    for name, fact in (facts | {"executions": told}).items():
        console.console.print(f"{name:<12} {fact}", soft_wrap=True)


help_pages.add(app, "put", put.put)
help_pages.add(app, "status", status)
help_pages.add(app, "executions", executions.executions)
help_pages.add(app, "trace", trace.trace)
help_pages.add_group(app, "dead-letters", dead_letters.app)
help_pages.add(app, "redrive", redrive.redrive)
help_pages.add(app, "reconcile", reconcile.reconcile)
help_pages.add(app, "verify", verify.verify)
help_pages.add(app, "backfill", backfill.backfill)
help_pages.add(app, "destroy", destroy.destroy)
help_pages.add(app, "up", up)
help_pages.add(app, "down", down)


def run() -> None:
    """Run the command line, and say expected failures in a line."""
    end_on_sigterm()
    if isinstance(sys.stdout, TextIOWrapper):
        # What an encoding does not have is told by its number.
        sys.stdout.reconfigure(errors="backslashreplace")
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
        _end(_of_system(error), SOME_WITHOUT_OUTCOME)


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


def _of_system(error: OSError) -> str:
    """Say what the system refused, of which file if it names one, and what to do."""
    if error.filename is None:
        return f"{error.strerror or error}. If the output goes into a file, see that it has room; then run it again."
    name = visible(os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename))
    return f"{name}: {error.strerror}. See that it is there, and that you may use it; then run it again."


def _end(said: str, code: int) -> NoReturn:
    """End with a line, if there is something to say; what is written and cannot be, is given up."""
    with suppress(OSError):
        if said:
            lines = "\n".join(map(visible, f"custody: {said}".split("\n")))
            console.stderr.print(lines, soft_wrap=True, markup=False)
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
