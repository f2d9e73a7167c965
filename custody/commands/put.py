"""`custody put`: put files in, follow them to their end, and show what became of every record."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

from custody.deployment.target import Deployment, find
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.ingest.outcome import LISTED, NOT_STARTED, ObjectOutcome, Sent
from custody.ingest.watch import Watcher, Whereabouts
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import Aws, Env, Profile, target_of
from custody.terminal.text import visible
from custody.views import outcome as outcome_view
from functions.shared.model.ids import RawObject

app = command_app()

_MEGABYTE = 10**6
_BAR = 10
_NAME = 15
"""Characters of a key beside the bar, so that a line fits into 80 with all that is told."""

_TOLD = 10
"""Of so many objects that are in when the command ends too soon, each is told."""


@command(
    app,
    "custody put samples/objects/good.json",
    "custody put samples/objects/good.json --key mission/2026/good.json",
    "custody put samples/objects/lines.jsonl --no-wait --json",
    see="custody trace, custody dead-letters",
)
def put(  # noqa: PLR0913 - one parameter an option
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="The files to put into the raw bucket.")],
    *,
    key: Annotated[str | None, typer.Option(help="The whole key; the name of the file if not given.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the outcome.")] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help=f"Print one JSON document. Of an object of more than {LISTED:,} records it lists the first {LISTED:,} "
            "that were rejected; `counts` and `records_more` tell of all.",
        ),
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each outcome.")] = 600,
    env: Env = "dev",
    aws: Aws = False,
    profile: Profile = None,
) -> None:
    """Put files into the raw bucket, and show what became of each record; of many, the counts and the first rejected.

    Exit code 0: all were written. 3: each has an outcome, some are rejected. 1: some have none. 2: wrong usage.
    """
    _require_files(files, key)
    target = target_of(aws, profile)
    deployment = find(target, env)
    keys = [_key(deployment, file, key) for file in files]
    watcher = Watcher(target, deployment)
    fates = []
    try:
        with _progress(live=not as_json and console.stderr.is_terminal) as progress:
            sent = [_send(watcher, file, name, progress) for file, name in zip(files, keys, strict=True)]
            if not no_wait:
                for one in sent:
                    _watch(watcher, one, timeout, progress)
                fates = [_fate(watcher, one, progress) for one in sent]
    except BaseException:
        _tell_arrived(watcher.arrived)
        raise
    if no_wait:
        _print_sent(sent, as_json=as_json)
        return
    if as_json:
        sys.stdout.write(json.dumps({"objects": [fate.encode() for fate in fates]}, indent=2) + "\n")
    else:
        outcome_view.outcomes(fates)
    if late := [fate for fate in fates if not fate.has_ended]:
        _tell_late(late, len(fates), timeout)
    codes = {fate.code for fate in fates}
    worst = next(code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED, ALL_WRITTEN) if code in codes)
    raise typer.Exit(worst)


def _print_sent(sent: list[Sent], *, as_json: bool) -> None:
    """Say what is in, where nothing is followed."""
    if as_json:
        sys.stdout.write(json.dumps({"objects": [one.encode() for one in sent]}, indent=2) + "\n")
        return
    for one in sent:
        console.console.print(f"{visible(one.raw.key)}  {one.raw.id}", soft_wrap=True, markup=False)


def _require_files(files: list[Path], key: str | None) -> None:
    if key == "":
        raise CommandFailed("--key is empty. Leave it out, and the name of the file is the key.", USAGE)
    if key and len(files) > 1:
        raise CommandFailed("--key names one object; put one FILE with it.", USAGE)
    if missing := [visible(str(file)) for file in files if not file.is_file()]:
        raise CommandFailed(
            f"Not a file: {', '.join(missing)}. Name files that are there; what comes from a pipe is written into a "
            "file first.",
            USAGE,
        )


def _key(deployment: Deployment, file: Path, key: str | None) -> str:
    """Say under which key a file goes; raise CommandFailed for one from which nothing would be started."""
    if key is None:
        return f"{deployment.raw_prefix}{file.name}"
    if not key.startswith(deployment.raw_prefix):
        raise CommandFailed(
            f"This deployment takes only keys that begin with {deployment.raw_prefix}: say "
            f"--key {quote(deployment.raw_prefix + key)}.",
            USAGE,
        )
    return key


def _tell_late(late: list[ObjectOutcome], number: int, timeout: float) -> None:
    console.stderr.print(
        f"{len(late)} of {number} did not end within {timeout:g} s, but may yet. See where they are: "
        f"custody executions; and what became of one: custody trace {late[0].sent.raw.id}",
        soft_wrap=True,
        markup=False,
    )
    if lost := sum(fate.status == NOT_STARTED for fate in late):
        console.stderr.print(
            f"{lost} of them {'was' if lost == 1 else 'were'} not started: does the event still wait (custody status)? "
            "Does the raw bucket, if it is one of your own, tell EventBridge (docs/existing-data.md)?",
            soft_wrap=True,
            markup=False,
        )


def _tell_arrived(arrived: list[RawObject]) -> None:
    """Tell of objects that are in, and go on while the command does not."""
    lines = [f"{visible(raw.key)} is in and goes on: custody trace {raw.id}" for raw in arrived[:_TOLD]]
    if (more := len(arrived) - _TOLD) > 0:
        lines.append(f"{more:,} more that are in and go on: custody executions")
    for line in lines:
        console.stderr.print(line, soft_wrap=True, markup=False)


@contextmanager
def _progress(*, live: bool) -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=_BAR),
        TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
    )
    with Progress(
        *columns, console=console.stderr, transient=True, redirect_stdout=False, disable=not live
    ) as progress:
        yield progress


def _send(watcher: Watcher, file: Path, key: str, progress: Progress) -> Sent:
    size = file.stat().st_size
    task = progress.add_task(f"{_short(key)}: sending", total=size or 1, done="")
    gone = 0

    def sent(number: int) -> None:
        nonlocal gone
        gone += number
        progress.update(task, completed=gone, done=f"{gone / _MEGABYTE:,.0f} of {size / _MEGABYTE:,.0f} MB")

    one = watcher.send(file, key, sent)
    progress.remove_task(task)
    return one


def _watch(watcher: Watcher, sent: Sent, timeout: float, progress: Progress) -> None:
    """Wait until an execution has ended, or for so many seconds; show how far it is."""
    task = progress.add_task(_short(sent.raw.key), total=sent.chunks, done="")
    for now in watcher.watch(sent, timeout):
        completed = now.chunks[0] if now.chunks else 0
        # The chunks say where it is.
        said = _short(sent.raw.key) if now.chunks else f"{_short(sent.raw.key)}: {now}"
        progress.update(task, description=said, completed=completed, done=_done(now))
    progress.remove_task(task)


def _fate(watcher: Watcher, sent: Sent, progress: Progress) -> ObjectOutcome:
    """Read what became of an object, which takes a while if it has many chunks."""
    task = progress.add_task(f"{_short(sent.raw.key)}: reading what became of it", total=None, done="")
    fate = watcher.fate(sent)
    progress.remove_task(task)
    return fate


def _short(key: str) -> str:
    """Give the end of a key, which tells more than its beginning."""
    return visible(key if len(key) <= _NAME else f"…{key[1 - _NAME :]}")


def _done(now: Whereabouts) -> str:
    """Say how much of a bulk object is done; of one batch nothing is known before its end."""
    if now.chunks is None or now.counts is None:
        return ""
    rejected = f", {now.counts.rejected:,} rejected" if now.counts.rejected else ""
    records = "1 record" if now.counts.received == 1 else f"{now.counts.received:,} records"
    return f"{now.chunks[0]:,} of {now.chunks[1]:,} chunks, {records}{rejected}"
