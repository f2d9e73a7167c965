"""`custody verify`: does what is stored still bear out what the ledger says?"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from custody.assurance.verify import Holding, Progress, Result, Verdict, holdings, verdicts
from custody.audit.identifiers import id_of, object_of
from custody.deployment.target import find
from custody.errors import USAGE, CommandFailed
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile, Since, target_of
from custody.terminal.text import visible

app = command_app()

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BROKEN = 1
"""The exit code if anything is broken."""

_SHOWN = 50
"""Up to so many objects all are shown; of more, only those that do not hold."""

_COLOURS = {Result.HOLDS: "green", Result.EXPIRED: "yellow", Result.BROKEN: "bold red"}


@command(
    app,
    "custody verify --since 24h",
    "custody verify RECORD --json",
    see="custody reconcile, docs/runbook.md",
)
def verify(  # noqa: PLR0913 - one parameter an option
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID", help="Object or record ids, or keys in the raw bucket; every object, if none is given."
        ),
    ] = None,
    *,
    since: Since = None,
    as_json: AsJson = False,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Recompute the hashes of raw and processed objects, and compare them with the ledger.

    An object holds, is broken, or is expired: its raw version is gone for good. Exit code 1: one is broken.
    """
    target = target_of(aws, profile)
    deployment = find(target, env)
    s3 = target.client("s3")
    named = [id_of(s3, deployment.raw, each) for each in ids or []]
    found = _named(s3, deployment.audit, named) if named else holdings(s3, deployment.audit)
    # Each is there from the beginning: the spinner reads them in a thread of its own.
    tally = Counter[Result](dict.fromkeys(Result, 0))
    progress = Progress()
    checked = _counted(verdicts(s3, deployment.audit, _since(found, since), progress.add), tally)
    if as_json:
        _print_json(checked, tally)
    else:
        _print_table(console.watched(checked, lambda _: f"checked {_summary(tally)}; {progress}"), tally)
    if tally[Result.BROKEN]:
        raise typer.Exit(BROKEN)


def _named(s3: "S3Client", bucket: str, ids: list[str]) -> Iterable[Holding]:
    """Find the objects of ids; raise CommandFailed, before anything is checked, for one that the ledger lacks."""
    wanted = {each: object_of(each) for each in ids}
    found = {object_id: list(holdings(s3, bucket, object_id)) for object_id in wanted.values() if object_id}
    if missing := [each for each, object_id in wanted.items() if not (object_id and found[object_id])]:
        raise CommandFailed(
            f"The ledger has nothing of {', '.join(map(repr, missing))}. Give an object id, a record id or a key in "
            "the raw bucket; what failed before it was committed: `custody dead-letters --all`.",
            USAGE,
        )
    return chain.from_iterable(found.values())


def _since(found: Iterable[Holding], since: datetime | None) -> Iterator[Holding]:
    return (holding for holding in found if since is None or holding.modified >= since)


def _counted(checked: Iterable[Verdict], tally: Counter[Result]) -> Iterator[Verdict]:
    for verdict in checked:
        tally[verdict.result] += 1
        yield verdict


_NAMES = {Result.HOLDS: "hold", Result.EXPIRED: "expired", Result.BROKEN: "broken"}


def _summary(tally: Counter[Result]) -> str:
    parts = ", ".join(f"{tally[result]:,} {name}" for result, name in _NAMES.items())
    return f"{tally.total():,} object{'' if tally.total() == 1 else 's'}: {parts}"


def _print_json(checked: Iterable[Verdict], tally: Counter[Result]) -> None:
    """Print the verdicts as one JSON document, while they come."""
    sys.stdout.write('{"objects": [')
    for number, verdict in enumerate(checked):
        sys.stdout.write(("," if number else "") + "\n" + json.dumps(verdict.encode()))
    counts = {str(result): tally[result] for result in Result}
    sys.stdout.write('\n], "counts": ' + json.dumps(counts) + "}\n")


def _print_table(checked: Iterable[Verdict], tally: Counter[Result]) -> None:
    """Print a table of all, or of what does not hold if there are many, and the counts."""
    shown: list[Verdict] = []
    for verdict in checked:
        if tally.total() == _SHOWN + 1:
            shown = [each for each in shown if each.result is not Result.HOLDS]
        if tally.total() <= _SHOWN or verdict.result is not Result.HOLDS:
            shown.append(verdict)
    table = Table("object", "result", "records", "where", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for verdict in shown:
        result = Text(str(verdict.result), style=_COLOURS[verdict.result])
        where = Text("\n".join(map(visible, verdict.where)))
        table.add_row(verdict.object_id, result, f"{verdict.records:,}", where)
    if shown:
        console.console.print(table)
    console.console.print(_summary(tally))
