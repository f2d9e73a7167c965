"""`custody destroy`: take an environment away, and name everything of it that is left."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from custody.deployment.destroy import Done, Plan, delete_buckets, delete_stack, plan
from custody.deployment.leftovers import LISTED, REFUSALS, UNKNOWN, Account, Holding, counted
from custody.deployment.stack import Stack, owner
from custody.deployment.target import describe_stack
from custody.errors import SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.terminal import console as terminal_console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, target_of
from custody.terminal.text import visible

app = command_app()

BOOTSTRAP = "CDKToolkit"
"""The stack of `cdk bootstrap`, which every CDK app of an account and region shares."""


@dataclass(frozen=True)
class End:
    """What there was, what was done, and what is left; `buckets` are those that were named, as they were."""

    account: Account
    stack: Stack | None
    planned: Plan | None
    buckets: list[Holding]
    done: Done
    left: list[Holding]
    bootstrap: Holding | None

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {
            "target": self.account.target.name,
            "account": self.account.number,
            "region": self.account.region,
            "env": self.account.env,
            "stack": {"name": self.stack.name, "status": self.stack.status} if self.stack else None,
            "plan": self.planned.encode() if self.planned else None,
            "buckets": [one.encode() for one in self.buckets],
            "deleted": self.done.deleted,
            "emptied": self.done.emptied,
            "held": {name: held.number for name, held in self.done.held.items()},
            "failures": [failure.encode() for failure in self.done.failures],
            "left": [one.encode() for one in self.left],
            "bootstrap": self.bootstrap.encode() if self.bootstrap else None,
        }


@command(
    app,
    "custody destroy --dry-run",
    "custody destroy --env staging",
    see="custody down, docs/deploy.md",
)
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
    planned = plan(account, stack, terminal_console.watched) if stack else None
    screen = terminal_console.stderr if as_json else terminal_console.console
    if stack and planned:
        _show_plan(screen, stack, planned)
    if buckets:
        screen.print("Of these goes for ever every version that is not locked, and then the bucket:")
        screen.print(_table(buckets))
    done = Done()
    if not dry_run and (stack or buckets):
        if planned and planned.against:
            raise CommandFailed(f"Nothing was deleted. {' '.join(planned.against)}")
        _confirm(env, yes=yes)
        done = _do(account, stack, buckets)
    is_to_come = dry_run and stack is not None
    left = [] if is_to_come else _left(account, stands=done.stands)
    end = End(account, stack, planned, buckets, done, left, _bootstrap(account))
    if as_json:
        sys.stdout.write(json.dumps(end.encode() | {"dry_run": dry_run}, indent=2) + "\n")
    else:
        _show_end(end, is_to_come=is_to_come)
    if done.failures or done.held:
        raise typer.Exit(SOME_WITHOUT_OUTCOME)


def _do(account: Account, stack: Stack | None, buckets: list[Holding]) -> Done:
    try:
        if stack is None:
            return delete_buckets(account, [one.name for one in buckets], terminal_console.watched)
        return delete_stack(account, stack, terminal_console.watched)
    except (KeyboardInterrupt, SystemExit):
        goes_on = _standing(account, stack) if stack else "What is deleted by now does not come back."
        said = f"{goes_on} See what is left: {account.again('--dry-run')}"
        terminal_console.stderr.print(visible(said), soft_wrap=True, markup=False)
        raise


def _standing(account: Account, stack: Stack) -> str:
    """Say what becomes of a stack when nobody waits for it any more."""
    try:
        now = Stack.find(account.target, stack.name)
    except REFUSALS as error:
        return f"Whether CloudFormation goes on by itself is not known: {error}."
    if now is None:
        return f"{stack.name} is deleted."
    if now.is_busy:
        return "CloudFormation goes on by itself."
    return f"{stack.name} is {now.status}, and nothing goes on by itself."


def _left(account: Account, *, stands: bool) -> list[Holding]:
    """Find what is left. While the stack stands, no bucket goes without it, and no command for that is offered."""
    found = account.holdings()
    return [replace(one, command=None) if stands and one.kind == "bucket" else one for one in found]


def _chosen(account: Account, stack: Stack | None, names: list[str]) -> list[Holding]:
    """Look into buckets to be deleted; refuse one that is not of this environment, or that any stack has."""
    if not names:
        return []
    if stack:
        raise CommandFailed(
            f"The stack {stack.name} is still there. Take it away first: {account.again()}. Its buckets that stay are "
            "listed then.",
            USAGE,
        )
    there = account.buckets()
    for name in names:
        if name not in there:
            raise CommandFailed(
                f"{visible(name)} is no bucket of custody-{account.env}. These are: {', '.join(sorted(there)) or '-'}.",
                USAGE,
            )
        if having := owner(account.target, name):
            raise CommandFailed(
                f"Nothing was deleted: {name} is of the stack {having}. Take that away first, or name another bucket.",
                USAGE,
            )
    return [account.holding("bucket", name) for name in dict.fromkeys(names)]


def _confirm(env: str, *, yes: bool) -> None:
    """Have the name of the environment typed; raise CommandFailed if it is not, or if nobody is there to type it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(
            "Nothing was deleted: there is no terminal to confirm on. Say --yes if you are sure.", USAGE
        )
    terminal_console.stderr.print(f"This cannot be undone. Type the name of the environment, {env}, to go on: ", end="")
    if sys.stdin.readline().strip() != env:
        raise CommandFailed("Nothing was deleted: that is not its name.", USAGE)


def _bootstrap(account: Account) -> Holding | None:
    """Look at what `cdk bootstrap` made; None if there is nothing. What is refused is told: it is no reason to end."""
    try:
        found = describe_stack(account.target, BOOTSTRAP)
    except REFUSALS as error:
        note = f"could not be looked for: {error}"
        return Holding("bootstrap", BOOTSTRAP, UNKNOWN, note, is_billed=True, command=None)
    if found is None:
        return None
    bucket = next((out["OutputValue"] for out in found.get("Outputs", []) if out["OutputKey"] == "BucketName"), None)
    holds = f"{bucket}: {account.holding('bucket', bucket).holds}" if bucket else ""
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
    dead_letters = (
        UNKNOWN if plan.dead_letters is None else f"{plan.dead_letters:,}{'+' if plan.dead_letters == LISTED else ''}"
    )
    screen.print(f"executions in flight: {plan.in_flight:,}; open dead letters: {dead_letters}")
    for reason in plan.against:
        screen.print(Text(visible(reason), style="bold red"), soft_wrap=True)


def _show_end(end: End, *, is_to_come: bool) -> None:
    console, done, stack = terminal_console.console, end.done, end.stack
    for name, number in done.emptied.items():
        console.print(visible(f"emptied {name}: {counted(number, 'version')}"), soft_wrap=True, markup=False)
    for name, held in done.held.items():
        said = f"{name} keeps {counted(held.number, 'version')} that cannot be deleted, such as"
        console.print(visible(said), soft_wrap=True, markup=False)
        console.print(Text(visible(held.first), style="red"), soft_wrap=True)
    for failure in done.failures:
        said = f"{failure.logical_id or failure.name} ({failure.type}) is not deleted: {failure.reason}"
        console.print(Text(visible(said), style="red"), soft_wrap=True)
    name = f"custody-{end.account.env}"
    if stack is None:
        console.print(f"there is no stack {name} on {end.account.target.name}", soft_wrap=True, markup=False)
    elif not is_to_come:
        told = "is not deleted: fix what failed, and run this again" if done.stands else "is deleted"
        console.print(f"{name} {told}")
    if end.left:
        console.print(f"left of {name}:")
        console.print(_table(end.left))
        _show_commands(end.left)
    elif not is_to_come:
        console.print(f"nothing is left of {name}")
    if end.bootstrap:
        said = f"{end.bootstrap.name} ({end.bootstrap.holds}): {end.bootstrap.note}"
        console.print(visible(said), soft_wrap=True, markup=False)


def _show_commands(left: Iterable[Holding]) -> None:
    """Show each command on a line of its own, so that it can be copied from a narrow terminal too."""
    commands = [one.command for one in left if one.command]
    if commands:
        terminal_console.console.print("To remove it:")
    for line in commands:
        terminal_console.console.print(f"  {visible(line)}", soft_wrap=True, markup=False)


def _table(found: Iterable[Holding]) -> Table:
    table = Table(*(Column(heading, overflow="fold") for heading in ("", "name", "holds", "to know")), box=box.SIMPLE)
    for one in found:
        table.add_row(one.kind, *(Text(visible(said)) for said in (one.name, one.holds, one.note)))
    return table
