"""What `custody put` shows: its progress, then a row per record, and a row of counts per large object."""

from collections.abc import Iterable
from datetime import datetime

from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME
from custody.ingest.outcome import FileOutcome, Tally, UploadedFile
from custody.ingest.watch import ExecutionProgress
from custody.terminal import console
from custody.terminal.text import plural
from functions.shared.model.ids import RawObject

SHOWN_OF_EACH = 10
"""Rejected records shown per object."""

SHOWN_OF_MANY = 3
"""Rejected records shown per object, if there are many."""

_COLOURS = {"written": "green", "rejected": "red", "no outcome": "bold red", "no records": "green"}

_MEGABYTE = 10**6

_WARNED = 10
"""How many uploaded objects are named when the command ends early."""


def uploads(uploaded: Iterable[UploadedFile]) -> None:
    """Show the key and the object id of each upload."""
    for upload in uploaded:
        console.print_line(f"{upload.object.key}  {upload.object.id}")


def outcomes(tally: Tally) -> None:
    """Show the outcome of each record; of large objects the counts, and a few records.

    Of many objects, show the first that are not fully written, and the totals.
    """
    rows = console.table("object", "record", "outcome", "details")
    totals = console.table("object", "received", "written", "rejected", "chunks committed")
    for result in tally.shown:
        for record, outcome, why in _rows(result, SHOWN_OF_MANY if tally.is_large else SHOWN_OF_EACH):
            if outcome != "written" or not tally.is_large:
                rows.add(result.object.key, record, (outcome, _COLOURS[outcome]), why)
        if result.is_summarized and (counts := result.counts):
            total = result.planned_chunks
            chunks = "" if total is None else f"{result.committed:,} of {total:,}"
            totals.add(result.object.key, counts.received, counts.written, counts.rejected, chunks)
    console.print_rows(rows, command=("custody trace", 1))
    console.print_rows(totals)
    rejected, failed = tally.codes[SOME_REJECTED], tally.codes[SOME_WITHOUT_OUTCOME]
    if tally.is_large and (more := rejected + failed - len(tally.shown)):
        console.print_line(f"and {plural(more, 'more object')} with rejected records or without an outcome")
    if tally.uploads > 1:
        records = f"{plural(tally.counts.written, 'record')} written, {tally.counts.rejected:,} rejected"
        console.print_text(
            f"{plural(tally.uploads, 'object')}: {tally.codes[ALL_WRITTEN]:,} all written, {rejected:,} with rejected "
            f"records, {failed:,} without an outcome; {records}"
        )


def advise(tally: Tally, since: datetime) -> None:
    """Say how to list, redrive and discard what failed, if that is more than one object."""
    if tally.codes[SOME_REJECTED] + tally.codes[SOME_WITHOUT_OUTCOME] - len(tally.unfinished) > 1:
        option = f"--since {since:%Y-%m-%dT%H:%M:%SZ}"
        console.warn(
            f"See what failed: custody dead-letters {option}",
            f"Run it again:    custody redrive {option}",
            f"Discard it:      custody dead-letters discard {option} --reason TEXT",
        )


def uploading(key: str, sent: int, size: int) -> str:
    """Describe the progress of an upload, in bytes."""
    return f"{key}: uploaded {sent / _MEGABYTE:,.0f} of {size / _MEGABYTE:,.0f} MB"


def watching(key: str, now: ExecutionProgress) -> str:
    """Describe how far an execution is; of a bulk object its chunks, which say more than its state."""
    if now.chunks is None or now.counts is None:
        return f"{key}: {now.state}"
    rejected = f", {now.counts.rejected:,} rejected" if now.counts.rejected else ""
    records = f"{plural(now.counts.received, 'record')}{rejected}"
    return f"{key}: {now.chunks[0]:,} of {now.chunks[1]:,} chunks, {records}"


def warn_of_arrived(arrived: list[RawObject]) -> None:
    """Name the objects that were uploaded, and that will be processed although the command ends early."""
    for raw in arrived[:_WARNED]:
        console.warn(f"{raw.key} was uploaded and is processed regardless: custody trace {raw.id}")
    if (more := len(arrived) - _WARNED) > 0:
        console.warn(f"{more:,} more were uploaded and are processed regardless: custody executions")


def warn_of_unfinished(tally: Tally, timeout: float) -> None:
    """Say where to look for objects whose execution has not ended in time."""
    if not tally.unfinished:
        return
    console.warn(
        f"{len(tally.unfinished):,} of {tally.uploads:,} did not end within {timeout:g} s, but may still do so. See "
        f"where they are: custody executions; see the outcome of one: custody trace {tally.unfinished[0]}"
    )
    if tally.not_started:
        console.warn(
            f"{plural(tally.not_started, 'execution has', 'executions have')} not started. Is the event still queued "
            "(custody status)? If you brought your own raw bucket: does it send events to EventBridge "
            "(docs/existing-data.md)?"
        )


def _rows(result: FileOutcome, shown: int) -> Iterable[tuple[str, str, list[str]]]:
    counts, object_id, is_bulk = result.counts, result.object.id, result.planned_chunks is not None
    if counts and counts.written:
        written = [record.record for record in result.records if record.outcome == "written"]
        output = result.output and f"s3://{result.output.bucket}/{result.output.key}"
        records = written[0] if counts.written == 1 and written else plural(counts.written, "record")
        yield records, "written", [output or f"one object per chunk: custody trace {object_id}"]
    rejected = [record for record in result.records if record.outcome == "rejected"][:shown]
    for record in rejected:
        yield record.record, "rejected", list(record.described())
    if counts and (more := counts.rejected - len(rejected)):
        yield f"{more:,} more", "rejected", [f"see: custody {'trace' if is_bulk else 'dead-letters show'} {object_id}"]
    if result.chunks and result.chunks.failed:
        failed = f"{result.chunks.failed:,} of {result.chunks.total:,} chunks"
        yield failed, "no outcome", [f"see: custody trace {object_id}; redrive: custody redrive {object_id}"]
    elif not result.is_complete:
        yield object_id, "no outcome", [_missing_outcome(result)]
    elif not counts or not counts.received:
        yield "none", "no records", ["the object is empty"]


def _missing_outcome(result: FileOutcome) -> str:
    """Say how the execution ended, or that it has not; and where to see more."""
    status = " ".join(filter(None, (result.status, result.error)))
    why = f"{status}: {result.cause}" if result.cause else status
    if result.dead_letter:
        return f"{why}; dead letter: {result.dead_letter}"
    return why if result.has_ended else f"{why}; see: custody trace {result.object.id}"
