"""`custody destroy`: delete an environment, and list what is left of it."""

import sys
from itertools import islice
from typing import Annotated

import typer
from botocore.exceptions import ClientError

from custody.audit.dead_letters import Filter, select
from custody.audit.reader import AuditReader, Unreadable
from custody.deployment.destroy import (
    MACHINE,
    PAGE,
    REFUSALS,
    Account,
    DestroyReport,
    Resource,
    Stack,
    delete_bucket,
    delete_stack,
    stack_of,
)
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.executions.pipeline import Pipeline
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, DryRun
from custody.terminal.text import plural
from custody.views import destroy as view

app = command_app()


@command(app, "custody destroy --dry-run", "custody destroy --env staging", see="custody down, docs/deploy.md")
def destroy(
    session: Session,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    bucket: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Empty and delete a bucket that its stack retained; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Delete an environment, and list what is left of it, with the commands that remove it."""
    env, account = session.env, Account(session.target, session.env, session.profile)
    stack = account.find_stack()
    report = DestroyReport(account.target.name, env, dry_run, stack)
    report.buckets = _leftover_buckets(account, stack, bucket or [])
    if stack:
        with console.progress(lambda: "looking for executions and dead letters"):
            report.running_executions = _running(account, stack)
            report.open_dead_letters = _open_dead_letters(account, stack)
        report.blockers = list(account.blockers(stack, report.running_executions))
    view.show_plan(console.stderr if as_json else console.console, report)
    if not dry_run and (stack or report.buckets):
        if report.blockers:
            raise CommandFailed(f"Nothing was deleted. {' '.join(report.blockers)}")
        if not yes:
            _confirm(env)
        _delete(account, report)
    if stack is None or not (dry_run or report.stack_remains):
        report.left = account.left()
    if as_json:
        console.write_json(report)
    else:
        view.show_result(report)
    if report.failures:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


def _running(account: Account, stack: Stack) -> int:
    """Count the running executions of the state machines of a stack that CloudFormation is not working on."""
    running = 0
    for machine in [] if stack.is_busy else stack.of_kind(MACHINE):
        try:
            running += Pipeline(account.target.client("stepfunctions"), machine.name).count("RUNNING")[0]
        except ClientError as error:
            # Somebody may have deleted the state machine.
            if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
                raise
    return running


def _open_dead_letters(account: Account, stack: Stack) -> int | None:
    """Count the open dead letters, up to `PAGE`; None if that is refused."""
    number, unreadable = 0, list[Unreadable]()
    for bucket in stack.of_kind("bucket"):
        if bucket.name.startswith(f"{account.prefix}audit-"):
            audit = AuditReader(account.target.client("s3"), bucket.name)
            try:
                number += sum(1 for _ in islice(select(audit, Filter(), unreadable), PAGE))
            except REFUSALS:
                return None
    return min(number + len(unreadable), PAGE)


def _leftover_buckets(account: Account, stack: Stack | None, names: list[str]) -> list[Resource]:
    """Inspect the buckets to delete; refuse any that belongs to another environment, or to a stack."""
    if names and stack:
        raise CommandFailed(
            f"The stack {stack.name} still exists. Delete it first: {account.destroy_command()}. Then name the buckets "
            "that it retained.",
            USAGE,
        )
    existing = account.buckets() if names else []
    for name in names:
        if name not in existing:
            raise CommandFailed(
                f"{name} is not a bucket of custody-{account.env}. Its buckets: "
                f"{', '.join(sorted(existing)) or 'none'}.",
                USAGE,
            )
        if owner := stack_of(account.target, name):
            raise CommandFailed(f"{name} belongs to the stack {owner}. Delete it with that stack.", USAGE)
    return [account.inspect(Resource("bucket", name)) for name in dict.fromkeys(names)]


def _confirm(env: str) -> None:
    """Ask for the name of the environment; raise CommandFailed if it is not typed."""
    if not sys.stdin.isatty():
        raise CommandFailed(
            "Nothing was deleted: there is no terminal to confirm on. Add --yes if you are sure.", USAGE
        )
    console.stderr.print(f"This cannot be undone. Type the name of the environment, {env}, to continue: ", end="")
    if sys.stdin.readline().strip() != env:
        raise CommandFailed("Nothing was deleted: the name does not match.", USAGE)


def _delete(account: Account, report: DestroyReport) -> None:
    what = report.stack.name if report.stack else "buckets"
    try:
        with console.progress(lambda: f"deleting {what}; {plural(sum(report.emptied.values()), 'version')} deleted"):
            if report.stack:
                delete_stack(account, report.stack, report)
            for bucket in report.buckets:
                delete_bucket(account.target, bucket.name, report)
    except (KeyboardInterrupt, SystemExit):
        state = f"CloudFormation may still be deleting {what}." if report.stack else "Some versions may be deleted."
        console.warn(f"{state} See what is left: {account.destroy_command('--dry-run')}")
        raise
