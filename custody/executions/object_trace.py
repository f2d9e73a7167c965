"""Follow one object through the books and its executions: what it came to, step by step, and where all of it lies."""

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

from custody.audit.identifiers import Named
from custody.audit.ledger_lines import BookedChunk, encode, shape
from custody.audit.object_state import Dossier
from custody.audit.reader import WHOLE, Books, Entry, Letter, Unreadable
from custody.executions.timeline import Teller, why_untold
from custody.ingest.outcome import parts_of, rejected_of
from functions.shared.model.ids import record_id
from functions.shared.model.messages import Json

LISTED = 10
"""How many rejected records of an object are listed, and how many discards."""


def of_object(books: Books, teller: Teller, wanted: Named) -> Json:
    """Tell of one object: its state, its books, its letters and its executions; raise CommandFailed if nothing does."""
    known = Dossier.read(books, teller.pipeline, wanted)
    header = known.header if known.is_closed else None
    discards = known.discards
    output = header["output"] if header and not known.chunk_bytes else None
    ledger = known.last if header else None
    return {
        "object": {"id": known.raw.id} | asdict(known.raw),
        "uri": known.raw.uri,
        "other_versions": list(wanted.others),
        "dataset": known.told["dataset"] if known.told else None,
        "status": known.run.status,
        "error": known.run.error,
        # Before the books of a bulk object are closed, its first chunk tells which it is, and no more.
        "attempt": header["attempt"] if header else known.attempt,
        "counts": header["counts"] if header else None,
        "chunks": _chunks(known) if known.chunk_bytes else None,
        "rejected": list(islice(_rejected(known), LISTED)) if header else [],
        "discards": [discard_of(books, each) for each in discards[:LISTED]],
        "discards_more": max(0, len(discards) - LISTED),
        "execution": known.run.arn,
        "output": output,
        "ledger": f"s3://{books.bucket}/{ledger.key}" if ledger else None,
        "letters": letters_of(known, teller, known.letters),
        "links": links_of(known, teller, output, ledger),
        "executions": executions_of(known, teller),
    }


def _rejected(known: Dossier) -> Iterator[Json]:
    """Give the rejected records, those that were discarded since too; no more is read than is asked for."""
    given_up = frozenset(entry.start for entry in known.discards)
    for entry, line in rejected_of(known.books, parts_of(known.books, known.standing)):
        outcome = {"outcome": "discarded"} if entry.start in given_up else {}
        yield {"record": record_id(entry.object_id, line.position)} | encode(line) | outcome


def _chunks(known: Dossier) -> Json:
    """Count the chunks, and name those that are not written whole."""
    given_up = frozenset(entry.start for entry in known.discards)
    left = [
        {
            "start": line.start,
            "outcome": _outcome(line.start in given_up, isinstance(line, BookedChunk)),
            "attempt": line.attempt,
            "counts": shape(line.counts) if line.counts else None,
        }
        for line in known.standing.chunks.values()
        if not isinstance(line, BookedChunk) or line.counts.rejected
    ]
    counted = known.header["chunks"] if known.is_closed else {"total": known.chunks, "booked": len(known.booked)}
    return {**counted, "not_written": left}


def _outcome(is_given_up: bool, is_booked: bool) -> str:  # noqa: FBT001 - two facts of a chunk
    if is_given_up:
        return "discarded"
    return "booked" if is_booked else "failed"


def letters_of(known: Dossier, teller: Teller, letters: list[Letter]) -> list[Json]:
    """Tell of letters: first of the one to act on, that of all chunks, if there is one."""
    are_open = frozenset(known.standing.open_among(letters))
    ordered = sorted(letters, key=lambda letter: not letter.is_of_whole)
    return [
        {
            "id": letter.id,
            "open": letter in are_open,
            "console": teller.links.object(known.books.bucket, letter.key),
        }
        for letter in ordered
    ]


def links_of(known: Dossier, teller: Teller, output: Any, ledger: Entry | None) -> Json:
    """Link to the raw version, to what is delivered and to the ledger file, as far as there are any."""
    link, raw = teller.links.object, known.raw
    return {
        "raw": link(raw.bucket, raw.key, raw.version_id),
        "output": link(output["bucket"], output["key"], output["version_id"]) if output else None,
        "ledger": link(known.books.bucket, ledger.key) if ledger else None,
    }


def executions_of(known: Dossier, teller: Teller) -> list[Json]:
    """Tell of every execution that worked on an object, oldest first, also of one that only the books know."""
    told = [teller.told(one) for one in known.executions]
    named = known.run.arn if known.told or known.untold else None
    if named is None or any(one["arn"] == named for one in told):
        return told
    why = why_untold(known.untold)
    return [teller.untold(named, why), *told]


def discard_of(books: Books, entry: Entry) -> Json:
    """Say who discarded a batch, when and why: null if that cannot be read; `start` is null for all that was left."""
    told = {"start": None if entry.start == WHOLE else entry.start, "ledger": f"s3://{books.bucket}/{entry.key}"}
    try:
        header = books.header(entry)
    except Unreadable:
        return told | dict.fromkeys(("at", "by", "reason"))
    return told | {
        "at": header["recorded_at"],
        "by": header["discarded"]["by"],
        "reason": header["discarded"]["reason"],
    }
