"""`custody destroy`: take an environment away, and name everything of it that is left."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from custody import show
from custody.destroying import Done, Plan, delete_buckets, delete_stack, plan
from custody.failure import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.holdings import LISTED, Account, Holding, counted
from custody.options import AsJson, Aws, Env, Profile, target_of
from custody.pointing import visible
from custody.stacks import Stack

BOOTSTRAP = "CDKToolkit"
"""The stack of `cdk bootstrap`, which every CDK app of an account and region shares."""


@dataclass(frozen=True)
class End:
    """What there was, what was done, and what is left."""

    account: Account
    stack: Stack | None
    planned: Plan | None
    done: Done
    left: list[Holding]
    bootstrap: Holding | None

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {
            "target": self.account.target.name,
            "account": self.account.number(),
            "region": self.account.region,
            "env": self.account.env,
            "stack": {"name": self.stack.name, "status": self.stack.status} if self.stack else None,
            "plan": self.planned.encode() if self.planned else None,
            "deleted": self.done.deleted,
            "emptied": self.done.emptied,
            "held": {name: len(refused) for name, refused in self.done.held.items()},
            "failures": [failure.encode() for failure in self.done.failures],
            "left": [one.encode() for one in self.left],
            "bootstrap": self.bootstrap.encode() if self.bootstrap else None,
        }


def destroy(  # noqa: PLR0913 - one parameter an option
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go and what would stay.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for the name of the environment.")] = False,
    bucket: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Empty and delete a bucket that outlived its stack; any number of them."),
    ] = None,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Take an environment away, and list what is left of it, each with the command that removes it."""
    account = Account(target_of(aws, profile), env, profile)
    stack = Stack.find(account.target, f"custody-{env}")
    buckets = _chosen(account, stack, bucket or [])
    planned = plan(account, stack, show.watched) if stack else None
    if stack and planned:
        _show_plan(show.stderr if as_json else show.console, stack, planned)
    done = Done()
    if not dry_run and (stack or buckets):
        if planned and planned.against:
            raise CommandFailed(f"Nothing was deleted. {' '.join(planned.against)}")
        _confirm(env, yes=yes)
        done = _do(account, stack, buckets)
    is_to_come = dry_run and stack is not None
    end = End(account, stack, planned, done, [] if is_to_come else list(account.holdings()), _bootstrap(account))
    if as_json:
        sys.stdout.write(json.dumps(end.encode() | {"dry_run": dry_run}, indent=2) + "\n")
    else:
        _show_end(end, is_to_come=is_to_come)
    if done.failures or done.held:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


def _do(account: Account, stack: Stack | None, buckets: list[str]) -> Done:
    if stack is None:
        return delete_buckets(account, buckets, show.watched)
    try:
        return delete_stack(account, stack, show.watched)
    except KeyboardInterrupt:
        show.stderr.print(f"CloudFormation goes on by itself. See what is left: {account.again('--dry-run')}")
        raise


def _chosen(account: Account, stack: Stack | None, names: list[str]) -> list[str]:
    """Refuse a bucket that is none of this environment, or that its stack still needs."""
    if not names:
        return []
    if stack:
        raise CommandFailed(
            f"The stack {stack.name} is still there. Take it away first: {account.again()}. Its buckets that stay are "
            "listed then.",
            USAGE,
        )
    there = {one.name for one in account.holdings() if one.kind == "bucket"}
    for name in names:
        if name not in there:
            raise CommandFailed(
                f"{visible(name)} is no bucket of custody-{account.env}. These are: {', '.join(sorted(there)) or '-'}.",
                USAGE,
            )
    return names


def _confirm(env: str, *, yes: bool) -> None:
    """Have the name of the environment typed; raise CommandFailed if it is not, or if nobody is there to type it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(
            "Nothing was deleted: there is no terminal to confirm on. Say --yes if you are sure.", USAGE
        )
    show.stderr.print(f"This cannot be undone. Type the name of the environment, {env}, to go on: ", end="")
    if sys.stdin.readline().strip() != env:
        raise CommandFailed("Nothing was deleted: that is not its name.", USAGE)


def _bootstrap(account: Account) -> Holding | None:
    """Look at what `cdk bootstrap` made; None if there is nothing."""
    try:
        (found,) = account.target.client("cloudformation").describe_stacks(StackName=BOOTSTRAP)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    bucket = next((out["OutputValue"] for out in found.get("Outputs", []) if out["OutputKey"] == "BucketName"), None)
    holds = f"{bucket}: {account.contents(bucket)}" if bucket else ""
    note = "shared by every CDK app of this account and region; its bucket is billed. To remove it: docs/deploy.md"
    return Holding("bootstrap", BOOTSTRAP, holds, note, is_billed=True, command=None)


def _show_plan(screen: Console, stack: Stack, plan: Plan) -> None:
    others = f"{counted(plan.others, 'resource')} that {'holds' if plan.others == 1 else 'hold'} no data"
    screen.print(f"{stack.name} is {stack.status}. Of it goes for ever: {others}{', and' if plan.goes else ''}")
    if plan.goes:
        screen.print(_table(plan.goes))
    if plan.stays:
        screen.print("stays, for the template says so:")
        screen.print(_table(plan.stays))
    letters = f"{plan.letters:,}{'+' if plan.letters == LISTED else ''}"
    screen.print(f"executions in flight: {plan.in_flight:,}; open letters: {letters}")
    for reason in plan.against:
        screen.print(Text(reason, style="bold red"), soft_wrap=True)


def _show_end(end: End, *, is_to_come: bool) -> None:
    console, done, stack = show.console, end.done, end.stack
    for name, number in done.emptied.items():
        console.print(f"emptied {name}: {counted(number, 'version')}", soft_wrap=True)
    for name, refused in done.held.items():
        console.print(
            f"{name} keeps {counted(len(refused), 'version')} that cannot be deleted, such as", soft_wrap=True
        )
        console.print(Text(visible(refused[0]), style="red"), soft_wrap=True)
    for failure in done.failures:
        said = f"{failure.logical_id} ({failure.type}) is not deleted: {failure.reason}"
        console.print(Text(visible(said), style="red"), soft_wrap=True)
    name = f"custody-{end.account.env}"
    if stack is None:
        console.print(f"there is no stack {name} on {end.account.target.name}", soft_wrap=True, markup=False)
    elif not is_to_come:
        told = "is not deleted: mend what failed, and run this again" if done.failures else "is deleted"
        console.print(f"{name} {told}")
    if end.left:
        console.print(f"left of {name}:")
        console.print(_table(end.left))
        _show_commands(end.left)
    elif not is_to_come:
        console.print(f"nothing is left of {name}")
    if end.bootstrap:
        console.print(f"{end.bootstrap.name} ({end.bootstrap.holds}): {end.bootstrap.note}", soft_wrap=True)


def _show_commands(left: Iterable[Holding]) -> None:
    """Show each command on a line of its own, so that it can be copied from a narrow terminal too."""
    commands = [one.command for one in left if one.command]
    if commands:
        show.console.print("To remove it:")
    for command in commands:
        show.console.print(f"  {command}", soft_wrap=True, markup=False)


def _table(found: Iterable[Holding]) -> Table:
    table = Table(*(Column(heading, overflow="fold") for heading in ("", "name", "holds", "to know")), box=box.SIMPLE)
    for one in found:
        table.add_row(one.kind, visible(one.name), one.holds, Text(one.note))
    return table
