"""Select dead letters by what they say, and describe what resolved them."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, partial
from itertools import groupby

from msgspec import Struct
from msgspec.structs import asdict

from custody.audit.object_state import ObjectState, totals_of
from custody.audit.reader import AuditReader, Unreadable
from custody.concurrency import map_ordered
from custody.executions.listing import Totals
from functions.shared.errors import RecordsRejected
from functions.shared.model.keys import ENDS, REJECTED, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import DeadLetter
from functions.shared.model.records import Span

_NOT_STEPS = frozenset({REJECTED, *ENDS.values()})
"""The names of dead letters whose step stands only in their body; all others are named after their step."""

_FAILED_RECORD = re.compile(
    r"the record at position (\d{1,15}) \((\d{1,15}) bytes at byte (\d{1,15}) of the object\)", re.ASCII
)
"""How TransformFailed names a record."""

_DAYS_OF_A_FIRST_ATTEMPT = 5
"""The days within which a first attempt is recorded, with room: a state machine ends it 3 days after its start."""


@dataclass(frozen=True)
class Filter:
    """Which dead letters to select; `since` and `until` are times of recording, and None means all."""

    dataset: str | None = None
    error: str | None = None
    step: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    open_only: bool = True

    def accepts_day(self, day: str) -> bool:
        """Tell whether executions that started on a day may have dead letters to select: they are recorded later."""
        return self.until is None or day <= self.until.astimezone(UTC).date().isoformat()

    def accepts_key(self, key: DeadLetterKey) -> bool:
        """Tell from its key alone whether a dead letter is worth reading."""
        if self.step and key.name not in _NOT_STEPS and key.name.lower() != self.step.lower():
            return False
        if self.since is None or key.attempt > 0:
            return True
        return key.day >= _days_before(self.since, _DAYS_OF_A_FIRST_ATTEMPT)

    def accepts(self, body: DeadLetter) -> bool:
        """Tell whether to select a dead letter."""
        recorded = datetime.fromisoformat(body.recorded_at)
        return (
            self.dataset in {None, body.dataset}
            and self.error in {None, body.error}
            and (self.step is None or body.step.lower() == self.step.lower())
            and (self.since is None or recorded >= self.since)
            and (self.until is None or recorded <= self.until)
        )


class DeadLetterRow(DeadLetter, frozen=True, kw_only=True):
    """A dead letter in the list, with its id, and whether it is open."""

    id: str
    open: bool


class UnreadableFile(Struct, frozen=True):
    """A file of the audit bucket that is not what Custody wrote, and why."""

    key: str
    why: str


class DeadLettersDocument(Struct, frozen=True):
    """The dead letters that match, newest day first, and those that cannot be read."""

    dead_letters: list[DeadLetterRow]
    unreadable: list[UnreadableFile]


class DeadLetterDocument(Struct, frozen=True):
    """A dead letter and what it means now: `resolution` says what resolved it, null while it is open.

    `same_attempt` are the ids of other dead letters of its batch and attempt, `chunks` those of the open dead letters
    of the chunks of its object, and `totals` those of the summary that it goes with.
    """

    id: str
    uri: str
    open: bool
    resolution: str | None
    same_attempt: list[str]
    chunks: list[str]
    totals: Totals | None
    dead_letter: DeadLetter


@dataclass(frozen=True)
class SelectedDeadLetter:
    """A dead letter, what it says, and whether it is open."""

    dead_letter: DeadLetterKey
    body: DeadLetter
    is_open: bool

    @property
    def rejected(self) -> int | None:
        """The number of rejected records; None if the dead letter is about a whole batch, or summarizes chunks."""
        return self.body.rejected_count if self.body.error == RecordsRejected.__name__ else None

    @property
    def row(self) -> DeadLetterRow:
        """The shape in the list of `--json`."""
        return DeadLetterRow(**asdict(self.body), id=self.dead_letter.id, open=self.is_open)


def select(
    audit: AuditReader, wanted: Filter, unreadable: list[Unreadable] | None = None
) -> Iterator[SelectedDeadLetter]:
    """Stream the dead letters that a filter accepts, newest day first, and within a day by object.

    A dead letter that cannot be read is added to `unreadable`; without such a list, Unreadable is raised.
    """
    for selected in map_ordered(partial(_selected, audit, wanted), _candidates(audit, wanted)):
        for each in selected:
            if isinstance(each, SelectedDeadLetter):
                yield each
            elif unreadable is None:
                raise each
            else:
                unreadable.append(each)


def _candidates(audit: AuditReader, wanted: Filter) -> Iterator[list[DeadLetterKey]]:
    """List the dead letters of each day and object of which at least one is worth reading."""
    for day in filter(wanted.accepts_day, audit.days):
        for _, keys in groupby(audit.dead_letters(day), lambda key: key.object_id):
            of_object = list(keys)
            if any(map(wanted.accepts_key, of_object)):
                yield of_object


def _selected(audit: AuditReader, wanted: Filter, keys: list[DeadLetterKey]) -> list[SelectedDeadLetter | Unreadable]:
    """Select from an object's dead letters of a day, looking up at most once which are open."""

    @cache
    def open_keys() -> frozenset[DeadLetterKey]:
        return frozenset(open_of_day(audit, keys))

    candidates = list(filter(wanted.accepts_key, keys))
    if wanted.open_only and candidates:
        candidates = [key for key in candidates if key in open_keys()]
    selected: list[SelectedDeadLetter | Unreadable] = []
    for key, body in zip(candidates, read_all(audit, candidates), strict=True):
        if isinstance(body, Unreadable):
            selected.append(body)
        elif wanted.accepts(body):
            selected.append(SelectedDeadLetter(key, body, key in open_keys()))
    return selected


def read_all(audit: AuditReader, keys: list[DeadLetterKey]) -> Iterator[DeadLetter | Unreadable]:
    """Read dead letters concurrently, for there may be one per chunk; what cannot be read is returned as the error."""

    def read(key: DeadLetterKey) -> DeadLetter | Unreadable:
        try:
            return audit.read(key)
        except Unreadable as error:
            return error

    return map_ordered(read, keys)


def open_of_day(audit: AuditReader, keys: list[DeadLetterKey]) -> list[DeadLetterKey]:
    """Select the open ones from all the dead letters that an object has of one day.

    A later attempt starts on the same day or a later one, so earlier days are not listed; and none is, if the ledger
    resolves them.
    """
    day = keys[0].day
    state = ObjectState(audit, keys[0].object_id, since=day)
    candidates = state.open_among(keys)
    if not candidates or day == audit.days[0]:
        return candidates
    still_open = frozenset(state.open_dead_letters)
    return [key for key in candidates if key in still_open]


def resolution(state: ObjectState, dead_letter: DeadLetterKey) -> str | None:
    """Describe what resolved a dead letter; None while it is open."""
    if dead_letter in state.open_dead_letters:
        return None
    key = state.resolving_key(dead_letter)
    if key is None:
        latest = max(each for each in state.dead_letters if each.batch == dead_letter.batch)
        if latest.attempt == dead_letter.attempt:
            return "it summarizes its chunks, and all of them are written or discarded"
        return f"superseded by a later dead letter: {latest.id}"
    if key.discards:
        return f"discarded {state.describe_discard(key)}"
    try:
        header = state.header(key)
    except Unreadable as error:
        return f"attempt {key.attempt} was committed, but {error}"
    counts = f"{header.counts.written} written, {header.counts.rejected} rejected"
    return f"attempt {key.attempt} was committed on {header.recorded_at}: {counts}"


def describe(state: ObjectState, dead_letter: DeadLetterKey, body: DeadLetter) -> DeadLetterDocument:
    """Describe what a dead letter means now."""
    totals, key = None, LedgerKey(dead_letter.object_id, dead_letter.start, dead_letter.attempt)
    if dead_letter.is_of_whole and key in state.ledger_keys:
        with suppress(Unreadable):
            totals = totals_of(state.header(key))
    resolved_by = resolution(state, dead_letter)
    # Its executions may have started on different days.
    same_attempt = [
        each.id
        for each in state.dead_letters
        if each != dead_letter and (each.batch, each.attempt) == (dead_letter.batch, dead_letter.attempt)
    ]
    chunks = [each.id for each in state.open_dead_letters if dead_letter.is_of_whole and not each.is_of_whole]
    uri, is_open = state.audit.uri(dead_letter), resolved_by is None
    return DeadLetterDocument(dead_letter.id, uri, is_open, resolved_by, same_attempt, chunks, totals, body)


def failed_record(body: DeadLetter) -> Span | None:
    """Return where the record is that a step failed on, if the cause of a dead letter names it; its hash is unknown."""
    named = _FAILED_RECORD.search(body.cause)
    if named is None:
        return None
    position, length, offset = map(int, named.groups())
    return Span(position, offset, length, "")


def _days_before(moment: datetime, days: int) -> str:
    """Format the UTC day a number of days earlier: text, so that dead letters under an impossible day compare too."""
    return date.fromordinal(max(1, moment.astimezone(UTC).toordinal() - days)).isoformat()
