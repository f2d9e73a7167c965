"""The progress of `custody put` on a terminal, and its warnings."""

from custody.executions.pipeline import NOT_STARTED
from custody.ingest.outcome import ObjectOutcome
from custody.ingest.watch import ExecutionProgress
from custody.terminal import console
from custody.terminal.text import plural, visible
from functions.shared.model.ids import RawObject

_MEGABYTE = 10**6

_WARNED = 10
"""How many uploaded objects are named when the command ends early."""


def uploading(key: str, sent: int, size: int) -> str:
    """Describe the progress of an upload, in bytes."""
    return f"{visible(key)}: uploaded {sent / _MEGABYTE:,.0f} of {size / _MEGABYTE:,.0f} MB"


def watching(key: str, now: ExecutionProgress) -> str:
    """Describe how far an execution is; of a bulk object its chunks, which say more than its state."""
    if now.chunks is None or now.counts is None:
        return f"{visible(key)}: {now.state}"
    rejected = f", {now.counts.rejected:,} rejected" if now.counts.rejected else ""
    records = f"{plural(now.counts.received, 'record')}{rejected}"
    return f"{visible(key)}: {now.chunks[0]:,} of {now.chunks[1]:,} chunks, {records}"


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
