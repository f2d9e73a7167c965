"""A backfill: its progress, the objects to look at, and its totals."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import islice

from rich.filesize import decimal

from custody.ingest.backfill import Backfiller
from custody.ingest.inventory import ItemStatus
from custody.terminal import console
from custody.terminal.text import plural
from custody.terminal.times import stamp, took

_COLOURS = {
    ItemStatus.REFUSED: "bold red",
    ItemStatus.FAILED: "bold red",
    ItemStatus.REJECTED: "red",
    ItemStatus.STARTED: "yellow",
}


def progress(numbers: Iterable[int], description: str, records: Callable[[], int] = lambda: 0) -> None:
    """Run through numbers, and show the latest of them on a terminal, with the records committed so far."""
    latest = 0

    def describe() -> str:
        committed = records()
        return f"{description}: {latest:,}" + (f"; {plural(committed, 'record')} committed" if committed else "")

    with console.progress(describe):
        for number in numbers:
            latest = number


def report(result: Backfiller) -> None:
    """Show the first of the object versions to look at, then the totals."""
    totals, statuses = result.totals, result.listed
    counts = totals.counts
    if not result.dry_run:
        running = (ItemStatus.STARTED,) if result.is_watched else ()
        statuses = (ItemStatus.REFUSED, ItemStatus.FAILED, ItemStatus.REJECTED, *result.passed_over, *running)
    number = sum(counts[status] for status in statuses)
    rows = console.table("object", "arrived (UTC)", "bytes", "status", "id")
    for item in islice(result.select(statuses), console.SHOWN):
        version, at = item.object, item.last_modified.astimezone(UTC)
        status = ": ".join(filter(None, (_name(result, item.status), item.why)))
        deleted = "; deleted since, but this version still exists" if item.deleted else ""
        colour = _COLOURS.get(item.status, "")
        rows.add(version.key, f"{at:%Y-%m-%d %H:%M}", version.size, ([f"{status}{deleted}"], colour), version.id)
    console.print_rows(rows, command=("custody trace", 4))
    if number > console.SHOWN:
        console.print_line(f"and {number - console.SHOWN:,} more: add --json")
    total = plural(sum(counts.values()), "object version")
    parts = [f"{count:,} {_name(result, status)}" for status, count in counts.items() if count]
    console.print_text(f"{total}: {', '.join(parts)}" if parts else total)
    if result.dry_run:
        started = sum(counts[status] for status in result.started)
        console.print_text(
            f"{started:,} would be started, with {decimal(totals.bytes)}; how many records that is, is unknown until "
            f"they are read. At {result.per_second:g} per second it takes {took(started / result.per_second)}."
        )


def warn_of_interrupt(committed_before: datetime | None) -> None:
    """Say how to continue an interrupted backfill."""
    options = f" with --again --committed-before {stamp(committed_before)}" if committed_before else ""
    console.warn(
        f"What was started continues by itself. For the rest, run the same command again{options}: it passes over what "
        "was started."
    )


def warn_of_passed_over(result: Backfiller) -> None:
    """Say when to run again for what was already running, and from which object on."""
    oldest = next(result.select(result.passed_over), None)
    if oldest is None:
        return
    number = result.totals.counts[ItemStatus.IN_FLIGHT]
    were_running = plural(number, "object version was already running", "object versions were already running")
    console.warn(
        f"{were_running}, perhaps with the previous code, and passed over. Once nothing is running (see `custody "
        "executions --status running`), run it again from the oldest of them, with the same --prefix and without "
        f"--committed-before: custody backfill --again --since {stamp(oldest.last_modified)}"
    )


def _name(result: Backfiller, status: ItemStatus) -> str:
    """Name a status: what was started and watched is still running, if it has no other status."""
    return "running" if status is ItemStatus.STARTED and result.is_watched else status.value
