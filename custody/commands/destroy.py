"""`custody destroy`: delete an environment, and list what is left of it."""

import sys
from collections.abc import Iterable
from itertools import islice
from typing import Annotated

import msgspec
import typer
from botocore.exceptions import ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from custody.audit.dead_letters import Filter, select
from custody.audit.reader import AuditReader, Unreadable
from custody.deployment.destroy import (
    BUCKET,
    MACHINE,
    Deletion,
    DestroyPlan,
    Stack,
    delete_buckets,
    delete_stack,
    plan,
    stack_of,
)
from custody.deployment.resources import LISTED, REFUSALS, UNKNOWN, Account, Resource
from custody.deployment.target import Target, describe_stack
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.executions.pipeline import Pipeline
from custody.session import open_target
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile
from custody.terminal.text import plural, visible

BOOTSTRAP = "CDKToolkit"
"""The stack of `cdk bootstrap`, shared by every CDK app of an account and region."""

app = command_app()


class StackStatus(msgspec.Struct, frozen=True):
    """A stack before it was deleted."""

    name: str
    status: str


class DestroyReport(msgspec.Struct, frozen=True):
    """What an environment consisted of, what was deleted, and what is left.

    `buckets` are the ones named by --bucket, as they were before. `left` is empty in a dry run while the stack exists.
    """

    target: str
    account: str
    region: str
    env: str
    dry_run: bool
    stack: StackStatus | None
    plan: DestroyPlan | None
    buckets: list[Resource]
    deletion: Deletion
    left: list[Resource]
    bootstrap: Resource | None


@command(app, "custody destroy --dry-run", "custody destroy --env staging", see="custody down, docs/deploy.md")
def destroy(  # noqa: PLR0913 - one parameter an option
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted and retained, without deleting it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    bucket: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Empty and delete a bucket that its stack retained; repeatable."),
    ] = None,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Delete an environment, and list what is left of it, with the commands that remove it."""
    account = Account(open_target(aws=aws, profile=profile), env, profile)
    stack = Stack.find(account.target, f"custody-{env}")
    screen = console.stderr if as_json else console.console
    buckets = _leftover_buckets(account, stack, bucket or [])
    planned = None
    if stack:
        with console.progress(lambda: "inspecting resources"):
            running = 0 if stack.is_busy else _running(account.target, stack)
            planned = plan(account, stack, running, _open_dead_letters(account, stack))
        _show_plan(screen, stack, planned)
    if buckets:
        screen.print("Every unlocked version in these buckets will be permanently deleted, then the buckets:")
        screen.print(_table(buckets))
    deletion = Deletion()
    if not dry_run and (stack or buckets):
        if planned and planned.blockers:
            raise CommandFailed(f"Nothing was deleted. {' '.join(planned.blockers)}")
        _confirm(env, yes=yes)
        _delete(account, stack, buckets, deletion)
    is_pending = dry_run and stack is not None
    report = DestroyReport(
        target=account.target.name,
        account=account.number,
        region=account.region,
        env=env,
        dry_run=dry_run,
        stack=StackStatus(stack.name, stack.status) if stack else None,
        plan=planned,
        buckets=buckets,
        deletion=deletion,
        # Its buckets cannot be deleted separately while a stack exists.
        left=[] if is_pending else account.list_resources(with_commands=not deletion.stack_remains),
        bootstrap=_bootstrap(account),
    )
    if as_json:
        console.write_json(msgspec.to_builtins(report))
    else:
        _show(report)
    if deletion.failures:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


def _running(target: Target, stack: Stack) -> int:
    """Count the running executions of a stack's state machines."""
    running = 0
    for machine in stack.of_type(MACHINE):
        try:
            running += Pipeline(target.client("stepfunctions"), machine.name).count("RUNNING")[0]
        except ClientError as error:
            # Somebody may have deleted the state machine.
            if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
                raise
    return running


def _open_dead_letters(account: Account, stack: Stack) -> int | None:
    """Count the open dead letters, up to `LISTED`; None if that is refused."""
    prefix = f"{account.prefix}audit-"
    audit = next((bucket.name for bucket in stack.of_type(BUCKET) if bucket.name.startswith(prefix)), None)
    if audit is None:
        return 0
    unreadable: list[Unreadable] = []
    dead_letters = select(AuditReader(account.target.client("s3"), audit), Filter(), unreadable)
    try:
        readable = sum(1 for _ in islice(dead_letters, LISTED))
    except ClientError as error:
        return 0 if error.response["Error"]["Code"] == "NoSuchBucket" else None
    return min(readable + len(unreadable), LISTED)


def _delete(account: Account, stack: Stack | None, buckets: list[Resource], deletion: Deletion) -> None:
    what = stack.name if stack else "buckets"
    try:
        with console.progress(lambda: f"deleting {what}; {plural(sum(deletion.emptied.values()), 'version')} deleted"):
            if stack is None:
                delete_buckets(account, [each.name for each in buckets], deletion)
            else:
                delete_stack(account, stack, deletion)
    except (KeyboardInterrupt, SystemExit):
        state = f"CloudFormation may still be deleting {stack.name}." if stack else "Some versions may be deleted."
        console.warn(visible(f"{state} See what is left: {account.destroy_command('--dry-run')}"))
        raise


def _leftover_buckets(account: Account, stack: Stack | None, names: list[str]) -> list[Resource]:
    """Inspect the buckets to delete; refuse any that belongs to another environment, or to a stack."""
    if not names:
        return []
    if stack:
        raise CommandFailed(
            f"The stack {stack.name} still exists. Delete it first: {account.destroy_command()}. Then name the buckets "
            "that it retained.",
            USAGE,
        )
    existing = account.buckets()
    for name in names:
        if name not in existing:
            raise CommandFailed(
                f"{visible(name)} is not a bucket of custody-{account.env}. Its buckets: "
                f"{', '.join(sorted(existing)) or 'none'}.",
                USAGE,
            )
        if owner := stack_of(account.target, name):
            raise CommandFailed(f"{visible(name)} belongs to the stack {owner}. Delete it with that stack.", USAGE)
    return [account.inspect("bucket", name) for name in dict.fromkeys(names)]


def _confirm(env: str, *, yes: bool) -> None:
    """Ask for the name of the environment; raise CommandFailed if it is not typed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(
            "Nothing was deleted: there is no terminal to confirm on. Add --yes if you are sure.", USAGE
        )
    console.stderr.print(f"This cannot be undone. Type the name of the environment, {env}, to continue: ", end="")
    if sys.stdin.readline().strip() != env:
        raise CommandFailed("Nothing was deleted: the name does not match.", USAGE)


def _bootstrap(account: Account) -> Resource | None:
    """Describe the CDK's bootstrap stack; None if there is none."""
    note = "shared by every CDK app of this account and region; its bucket is billed. To remove it: docs/deploy.md"
    try:
        return Resource("bootstrap", BOOTSTRAP, note=note) if describe_stack(account.target, BOOTSTRAP) else None
    except REFUSALS as error:
        return Resource("bootstrap", BOOTSTRAP, UNKNOWN, f"cannot be read: {error}", billed=True)


def _show_plan(screen: Console, stack: Stack, planned: DestroyPlan) -> None:
    others = plural(planned.other_resources, "resource")
    end = ", and" if planned.deletes else ""
    screen.print(f"{stack.name} is {stack.status}. To be permanently deleted: {others} without data{end}")
    if planned.deletes:
        screen.print(_table(planned.deletes))
    if planned.retains:
        screen.print("Retained by deletion policy:")
        screen.print(_table(planned.retains))
    number = planned.open_dead_letters
    dead_letters = UNKNOWN if number is None else f"{number:,}{'+' if number == LISTED else ''}"
    screen.print(f"running executions: {planned.running_executions:,}; open dead letters: {dead_letters}")
    for blocker in planned.blockers:
        screen.print(Text(visible(blocker), style="bold red"), soft_wrap=True)


def _show(report: DestroyReport) -> None:
    deletion, name = report.deletion, f"custody-{report.env}"
    for bucket, number in deletion.emptied.items():
        _print(f"emptied {bucket}: {plural(number, 'version')}")
    for failure in deletion.failures:
        _print(f"{failure.resource or failure.name} ({failure.type}) was not deleted: {failure.reason}", style="red")
    if report.stack is None:
        _print(f"there is no stack {name} on {report.target}")
    elif deletion.stack_remains:
        _print(f"{name} was not deleted; fix what failed, and run this command again")
    elif not report.dry_run:
        _print(f"{name} was deleted")
    if report.left:
        _print(f"left of {name}:")
        console.console.print(_table(report.left))
        if commands := [each.command for each in report.left if each.command]:
            # Outside the table, they can be copied from a narrow terminal, too.
            _print("\n  ".join(["To remove it:", *commands]))
    elif not (report.dry_run and report.stack):
        _print(f"nothing is left of {name}")
    if report.bootstrap:
        _print(f"{report.bootstrap.name}: {report.bootstrap.note}")


def _print(text: str, style: str = "") -> None:
    lines = "\n".join(map(visible, text.split("\n")))
    console.console.print(Text(lines, style=style), soft_wrap=True)


def _table(resources: Iterable[Resource]) -> Table:
    table = console.table("", "name", "contents", "note")
    for each in resources:
        table.add_row(each.kind, *(Text(visible(cell)) for cell in (each.name, each.contents, each.note)))
    return table
