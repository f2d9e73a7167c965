"""The progress of `custody put` on a terminal, and its warnings."""

from pathlib import Path
from threading import Lock
from typing import Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

from custody.executions.pipeline import NOT_STARTED
from custody.ingest.outcome import ObjectOutcome, Upload
from custody.ingest.watch import ExecutionProgress, Watcher
from custody.terminal import console
from custody.terminal.text import plural, visible
from functions.shared.model.ids import RawObject

_MEGABYTE = 10**6
_BAR = 10
_NAME = 15
"""Characters of a key beside the bar, so that a line fits into 80 columns."""

_WARNED = 10
"""How many uploaded objects are named when the command ends early."""


class PutProgress:
    """Does the work of a Watcher, and shows its progress if `live` and stderr is a terminal."""

    def __init__(self, watcher: Watcher, *, live: bool) -> None:
        self._watcher = watcher
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=_BAR),
            TextColumn("{task.fields[done]}", table_column=Column(no_wrap=True)),
            console=console.stderr,
            transient=True,
            redirect_stdout=False,
            disable=not (live and console.stderr.is_terminal),
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def upload(self, file: Path, key: str) -> Upload:
        """Upload a file."""
        size = file.stat().st_size
        task = self._progress.add_task(f"{_short(key)}: uploading", total=size or 1, done="")

        sent = 0
        lock = Lock()

        def advance(number: int) -> None:
            nonlocal sent
            with lock:
                sent += number
                done = f"{sent / _MEGABYTE:,.0f} of {size / _MEGABYTE:,.0f} MB"
                self._progress.update(task, completed=sent, done=done)

        upload = self._watcher.upload(file, key, advance)
        self._progress.remove_task(task)
        return upload

    def watch(self, upload: Upload, timeout: float) -> None:
        """Wait until an execution has ended, or for `timeout` seconds."""
        name = _short(upload.raw.key)
        task = self._progress.add_task(name, total=upload.chunks, done="")
        for now in self._watcher.watch(upload, timeout):
            completed = now.chunks[0] if now.chunks else 0
            # The number of chunks says more than the state.
            description = name if now.chunks else f"{name}: {now.state}"
            self._progress.update(task, description=description, completed=completed, done=chunks_done(now))
        self._progress.remove_task(task)

    def outcome(self, upload: Upload) -> ObjectOutcome:
        """Read the outcome of an object, which takes a while if it has many chunks."""
        task = self._progress.add_task(f"{_short(upload.raw.key)}: reading its outcome", total=None, done="")
        outcome = self._watcher.outcome(upload)
        self._progress.remove_task(task)
        return outcome


def chunks_done(now: ExecutionProgress) -> str:
    """Describe how much of a bulk object is done; of one batch nothing is known before its end."""
    if now.chunks is None or now.counts is None:
        return ""
    rejected = f", {now.counts.rejected:,} rejected" if now.counts.rejected else ""
    return f"{now.chunks[0]:,} of {now.chunks[1]:,} chunks, {plural(now.counts.received, 'record')}{rejected}"


def warn_of_arrived(arrived: list[RawObject]) -> None:
    """Name the objects that were uploaded, and that will be processed although the command ends early."""
    for raw in arrived[:_WARNED]:
        console.warn(f"{visible(raw.key)} was uploaded and is processed regardless: custody trace {raw.id}")
    if (more := len(arrived) - _WARNED) > 0:
        console.warn(f"{more:,} more were uploaded and are processed regardless: custody executions")


def warn_of_unfinished(outcomes: list[ObjectOutcome], timeout: float) -> None:
    """Say where to look for objects whose execution has not ended in time."""
    unfinished = [outcome for outcome in outcomes if not outcome.has_ended]
    if not unfinished:
        return
    console.warn(
        f"{len(unfinished)} of {len(outcomes)} did not end within {timeout:g} s, but may still do so. See where they "
        f"are: custody executions; see the outcome of one: custody trace {unfinished[0].upload.raw.id}"
    )
    if waiting := sum(outcome.document.status == NOT_STARTED for outcome in unfinished):
        console.warn(
            f"{plural(waiting, 'execution has', 'executions have')} not started. Is the event still queued (custody "
            "status)? If you brought your own raw bucket: does it send events to EventBridge (docs/existing-data.md)?"
        )


def _short(key: str) -> str:
    """Return the end of a key, which says more than its beginning."""
    return visible(key if len(key) <= _NAME else f"…{key[1 - _NAME :]}")
