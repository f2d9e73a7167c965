"""Dead letters, as people see them: a table of many, and a page of one."""

from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from rich.cells import cell_len

from custody.assurance.verify_batch import format_counts
from custody.audit.dead_letters import DeadLetterDocument, SelectedDeadLetter
from custody.audit.object_versions import record_bytes
from custody.executions.listing import Totals
from custody.terminal import console
from custody.terminal.console import print_fact, print_heading, print_line
from custody.views.excerpt import excerpt, place
from custody.views.trace import format_items
from functions.shared.model.ids import record_id
from functions.shared.model.ledger import DeadLetter, ListedRecord
from functions.shared.model.records import Span, Violation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_WIDEST_EXCERPT = 160
_INDENT = " " * 6
_WHOLE = frozenset({"object", "execution", "console", "part of", "redrive of", "dead letter"})
"""The facts that are an URI or an ARN."""


def table(dead_letters: Iterable[SelectedDeadLetter]) -> None:
    """Show dead letters."""
    rows = console.table("dead letter", "dataset", "attempt", "step", "error", "records rejected", "since (UTC)", "")
    for each in dead_letters:
        body, whole = each.body, "whole object" if each.dead_letter.is_of_whole else "whole batch"
        rows.add(
            (each.dead_letter.id, "bold"),
            body.dataset,
            body.attempt,
            body.step,
            (body.error, "red"),
            whole if each.rejected is None else f"{each.rejected:,} of {body.received:,}",
            body.recorded_at[:16].replace("T", " "),
            ("open", "bold yellow") if each.is_open else ("resolved", "green"),
        )
    console.print_rows(rows, command=("custody dead-letters show", 0))


def page(document: DeadLetterDocument, *, running: bool, has_console: bool) -> None:
    """Show a dead letter; `running` if a redrive of it is."""
    body, totals = document.dead_letter, document.totals
    state = "open; a redrive is running" if running else "open"
    facts = {
        "what": f"{body.error} at {body.step}, attempt {body.attempt}, on {body.recorded_at}",
        "cause": body.cause,
        "advice": body.advice,
        "state": f"resolved: {document.resolution}" if document.resolution else state,
        "object": f"{body.object.uri} ({body.object.size:,} bytes)",
        "records": _records(body, totals),
        "contract": body.contract or (None if totals else "not known: the batch was not read"),
        "code": ", ".join(f"{stage} {version}" for stage, version in body.code.items()) or "not known",
        "execution": body.execution.arn,
        "console": body.execution.console if has_console else None,
        "part of": body.parent,
        "redrive of": body.redrive_of,
        "resumes at": body.resumes_at,
        "dead letter": document.uri,
    }
    styles = {"what": "red", "state": "bold yellow" if document.open else "green"}
    print_heading(document.id)
    for name, fact in facts.items():
        if fact:
            print_fact(name, fact, styles.get(name, ""), whole=name in _WHOLE)


def record(s3: "S3Client", body: DeadLetter, rejected: ListedRecord) -> None:
    """Show the violations of a record, each with its place in the bytes."""
    where = f"  at {rejected.stage}; {rejected.length:,} bytes at byte {rejected.offset:,} of the object"
    print_line()
    print_line((rejected.record, "bold"), (where, "dim"))
    content = record_bytes(s3, body.object, rejected, is_divided=body.chunk is not None)
    if content is None:
        print_line(("    the raw version is gone or archived, so its bytes cannot be shown", "yellow"))
    elif sha256(content).hexdigest() != rejected.sha256:
        print_line(("    these bytes are not the ones that were rejected: their hash differs", "red"))
    for violation in rejected.violations:
        print_line((f"    {violation}", "red"))
        if content is not None:
            _print_place(content, violation)
    for line in rejected.described()[len(rejected.violations) :]:
        print_line((f"    {line}", "red"))


def failed_record(s3: "S3Client", body: DeadLetter, span: Span) -> None:
    """Show the record that a step failed on."""
    where = f"  {body.error} at {body.step}; {span.length:,} bytes at byte {span.offset:,} of the object"
    print_line()
    print_line((record_id(body.object.id, span.position), "bold"), (where, "dim"))
    content = record_bytes(s3, body.object, span, is_divided=body.chunk is not None)
    if content is None:
        print_line(("    the raw version is gone or archived, so its bytes cannot be shown", "yellow"))
    else:
        _print_place(content, Violation("", body.error, None))


def _records(body: DeadLetter, totals: Totals | None) -> str:
    if totals and totals.counts:
        return format_counts(totals.counts) + (f" (chunks {format_items(totals.chunks)})" if totals.chunks else "")
    counts = (
        "not read" if body.received is None else f"{body.received:,} received, {body.rejected_count or 0:,} rejected"
    )
    chunk = body.chunk
    return f"{counts} (the chunk of {chunk.bytes:,} bytes that begins at byte {chunk.start:,})" if chunk else counts


def _print_place(content: bytes, violation: Violation) -> None:
    """Print the line of a record with the place of a violation: highlighted, or with a marker below it."""
    width = min(_WIDEST_EXCERPT, console.console.width - len(_INDENT) - 2)
    cut = excerpt(*place(content, violation), width)
    marked = cut.marked or " "
    print_line(_INDENT, (cut.before, "dim"), (marked, "bold red underline"), (cut.after, "dim"))
    if not console.console.is_terminal:
        print_line(_INDENT + " " * cell_len(cut.before) + "^" * cell_len(marked))
