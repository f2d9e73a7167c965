"""The dead letters of a bulk object: open while one of its chunks is, and discarded together with those."""

import gzip
import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from io import StringIO
from threading import Event

import pytest
from msgspec.structs import replace

from custody.audit.reader import AuditReader, Unreadable
from custody.concurrency import WORKERS, map_ordered
from custody.recovery import discard as recovery_discard
from custody.recovery.discard import Discard, commit, running_execution
from custody.terminal import console
from functions.shared.model.keys import WHOLE, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import CommittedChunk, FailedChunk
from tests.support.audit_files import Run, audit_of, discarded, put, reads_of, state_of
from tests.support.buckets import Buckets, parse_ledger_file
from tests.support.bulk import Bulk, lines
from tests.support.executions import Machine


def open_starts(bulk: Bulk) -> list[int]:
    return [key.start for key in state_of(bulk.buckets, bulk.id).open_dead_letters]


def summary_of(bulk: Bulk) -> LedgerKey:
    return LedgerKey(bulk.id, WHOLE, 0)


def test_the_keys_of_a_summary_and_its_dead_letter_name_the_whole_object(bulk: Bulk) -> None:
    state = state_of(bulk.buckets, bulk.id)
    assert state.summary == summary_of(bulk)
    assert state.summary.key == f"ledger/{bulk.id}/object.0.jsonl.gz"
    dead_letter = state.dead_letters[-1]
    assert dead_letter.is_of_whole
    assert dead_letter.id.endswith("/object.0.Summarize")
    other_name = f"dead-letters/dt=2026-11-23/{bulk.id}/{WHOLE}.0.Summarize.json"
    assert DeadLetterKey.parse(other_name) is None


def test_a_summary_is_streamed_chunk_by_chunk(bulk: Bulk) -> None:
    chunks = list(audit_of(bulk.buckets).chunks(summary_of(bulk)))
    assert [line.start for line in chunks] == list(bulk.starts)
    assert [type(line) for line in chunks] == [CommittedChunk] * 2 + [FailedChunk] + [CommittedChunk] * 4


@pytest.mark.parametrize("line", [b"[]", b'{"outcome": "lost"}', b'{"outcome": "committed", "start": 0}', b"not JSON"])
def test_a_summary_with_a_foreign_line_is_unreadable(bulk: Bulk, line: bytes) -> None:
    key = summary_of(bulk)
    body = gzip.decompress(bulk.buckets.body("audit", key.key)) + line + b"\n"
    bulk.buckets.put("audit", key.key, gzip.compress(body))
    with pytest.raises(Unreadable, match="line 9") as raised:
        list(audit_of(bulk.buckets).chunks(key))
    assert "lost" not in str(raised.value), "a value may be that of a record"
    assert open_starts(bulk) == [200, 400, WHOLE], "what cannot be read resolves nothing"


def test_the_header_of_a_chunk_is_not_a_summary(bulk: Bulk) -> None:
    body = bulk.buckets.body("audit", LedgerKey(bulk.id, 0, 0).key)
    bulk.buckets.put("audit", summary_of(bulk).key, body)
    with pytest.raises(Unreadable, match="missing required field"):
        audit_of(bulk.buckets).header(summary_of(bulk))


def test_the_dead_letter_of_the_object_is_open_while_one_of_a_chunk_is_and_only_the_summary_is_read(
    bulk: Bulk, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reads_of("header", monkeypatch)
    assert open_starts(bulk) == [200, 400, WHOLE]
    assert [key.start for key in read] == [WHOLE], "thousands of chunks are read from one file"
    discarded(bulk.buckets, bulk.id, 200)
    assert open_starts(bulk) == [400, WHOLE]
    discarded(bulk.buckets, bulk.id, 400)
    assert open_starts(bulk) == []


def test_a_later_attempt_and_a_discard_resolve_everything(bulk: Bulk) -> None:
    assert bulk.again(200, 400).run() == "RecordsRejected"
    assert open_starts(bulk) == [200, WHOLE]
    discarded(bulk.buckets, bulk.id, 200, 1)
    assert open_starts(bulk) == []


def test_a_failure_of_the_execution_itself_is_not_resolved_by_its_chunks(buckets: Buckets) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.end("AccessRefused", "Summarize")
    for start in bulk.starts:
        bulk.chunk(start)
    assert open_starts(bulk) == [WHOLE], "there is no summary"

    assert bulk.again().run() is None
    assert open_starts(bulk) == []


def test_an_object_is_discarded_chunk_by_chunk(bulk: Bulk, run: Run) -> None:
    done = run("discard", bulk.id, "--reason", "sent by mistake", "--json")

    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [each["dead_letter"].rpartition("/")[2] for each in document["discards"]] == [
        "000000000000200.0.Rejected",
        "000000000000400.0.Write",
    ]
    assert document["still_open"] == 0
    _, discarded = parse_ledger_file(bulk.buckets.body("audit", LedgerKey(bulk.id, 200, 0, discards=True).key))
    assert [line["position"] for line in discarded] == [244], "the record, and not those that were written"
    assert open_starts(bulk) == []
    assert bulk.buckets.keys("audit", LedgerKey(bulk.id, WHOLE, 0, discards=True).key) == [], "the sum needs none"
    assert "all of them are written or discarded" in run("show", bulk.id).stdout


def interrupted_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come after the first discard, while others that have begun are being committed."""
    begun, noted = Event(), Event()

    def commit_noted(audit: AuditReader, discard: Discard) -> None:
        if discard.dead_letter.start:
            begun.set()
        assert (noted if discard.dead_letter.start else begun).wait(60)
        commit(audit, discard)

    def interrupted(discard: Callable[[DeadLetterKey], None], dead_letters: list[DeadLetterKey]) -> Iterator[None]:
        with closing(map_ordered(discard, dead_letters)) as given:
            for _ in given:
                noted.set()
                raise KeyboardInterrupt
        yield

    monkeypatch.setattr(recovery_discard, "commit", commit_noted)
    monkeypatch.setattr(recovery_discard, "map_ordered", interrupted)


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_an_interrupted_discard_reports_what_it_committed_and_what_is_left(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    bulk = Bulk.upload(buckets, lines(100))
    bulk.run(failing=bulk.starts)
    interrupted_by_the_first(monkeypatch)

    ended = run("discard", bulk.id, "--reason", "sent by mistake", *options)

    assert ended.exit_code != 0
    committed = len([key for key in buckets.keys("audit", "ledger/") if "discarded" in key])
    left = len(bulk.starts) - committed + 1  # that of the whole object
    assert 1 < committed < len(bulk.starts), "those that were begun are finished, and no more are begun"
    if options:
        document = json.loads(ended.stdout)
        assert (len(document["discards"]), document["still_open"]) == (committed, left)
    else:
        assert f"{committed} dead letters discarded" in ended.stdout
    assert f"still open: {left} dead letters; run the same command again" in ended.stderr

    monkeypatch.undo()
    assert open_starts(bulk) != []


def test_discards_of_many_dead_letters_are_not_held_in_memory(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk = Bulk.upload(buckets, lines(100))
    bulk.run(failing=bulk.starts)
    made: list[weakref.ref[Discard]] = []
    kept: list[int] = []

    def commit_noted(audit: AuditReader, discard: Discard) -> None:
        made.append(weakref.ref(discard))
        kept.append(sum(each() is not None for each in made))
        commit(audit, discard)

    monkeypatch.setattr(recovery_discard, "commit", commit_noted)

    assert run("discard", bulk.id, "--reason", "sent by mistake").exit_code == 0
    assert len(made) == len(bulk.starts) > 2 * WORKERS
    assert max(kept) <= WORKERS, "a discard holds every line that it discards"


class Screen(StringIO):
    """A terminal's screen, which notes when it shows that a discard is running."""

    def __init__(self) -> None:
        super().__init__()
        self.is_shown = Event()

    def write(self, text: str) -> int:
        if "discarding" in text:
            self.is_shown.set()
        return super().write(text)


@pytest.mark.parametrize("name", ["{id}", "{id}.244"], ids=["whole", "one"])
def test_a_terminal_shows_a_discard_before_the_first_is_committed(
    bulk: Bulk, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    screen = Screen()
    monkeypatch.setattr(console, "stderr", console.Screen(file=screen, force_terminal=True, width=200))

    def commit_noted(audit: AuditReader, discard: Discard) -> None:
        assert screen.is_shown.wait(10), "the screen is silent"
        commit(audit, discard)

    monkeypatch.setattr(recovery_discard, "commit", commit_noted)
    assert run("discard", name.format(id=bulk.id), "--reason", "sent by mistake").exit_code == 0


def test_the_dead_letter_of_an_object_has_the_totals_and_dead_letters_of_its_chunks(bulk: Bulk, run: Run) -> None:
    shown = run("show", bulk.id)
    assert "17 received, 16 written, " in shown.stdout
    assert "1 rejected (chunks 7: 6 committed, 1 failed)" in shown.stdout
    assert "not read" not in shown.stdout
    assert "Its chunks have 2 open dead letters:" in shown.stderr
    ids = [each.id for each in audit_of(bulk.buckets).dead_letters_of(bulk.id) if not each.is_of_whole]
    assert all(f"custody dead-letters show {each}\n" in shown.stderr for each in ids)
    assert json.loads(run("show", bulk.id, "--json").stdout)["chunks"] == ids

    bulk.buckets.put("audit", summary_of(bulk).key, b"damaged")
    assert "records      not read" in run("show", bulk.id).stdout


def test_an_object_that_was_never_cut_was_not_read(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.end("AccessRefused", "Summarize")
    assert "records      not read" in run("show", bulk.id).stdout


def test_a_chunk_without_a_trace_keeps_the_object_open_until_it_is_discarded(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    assert bulk.run(lost=(600,)) == "ChunksFailed"
    assert open_starts(bulk) == [WHOLE]
    day = buckets.keys("processed")[0].split("/")[1]
    unclaimed = f"mission/{day}/{bulk.id}.000000000000600.jsonl"
    buckets.put("processed", unclaimed, b"{}\n")
    refused = run("discard", bulk.id, "--reason", "not wanted")
    assert "delivered a processed object that no ledger file claims" in str(refused.exception)
    assert open_starts(bulk) == [WHOLE]

    buckets.hide("processed", unclaimed)
    done = run("discard", bulk.id, "--reason", "not wanted")

    assert done.exit_code == 0, done.output
    assert "the chunks that were never committed" in done.stdout
    header, records = parse_ledger_file(buckets.body("audit", LedgerKey(bulk.id, WHOLE, 0, discards=True).key))
    assert (header["counts"], records) == (None, [])
    assert open_starts(bulk) == []


def test_a_record_names_the_dead_letter_of_its_chunk_and_an_object_that_of_the_whole(bulk: Bulk, run: Run) -> None:
    assert "/object.0.Summarize" in run("show", bulk.id).stdout.splitlines()[0]
    shown = run("show", f"{bulk.id}.244").stdout
    assert "/000000000000200.0.Rejected" in shown.splitlines()[0]
    assert "the chunk of 200 bytes that begins at byte 200" in shown
    assert f"part of      {bulk.arn}" in shown
    refused = run("show", f"{bulk.id}.99999")
    assert "There is no dead letter about" in str(refused.exception)


def test_a_dead_letter_that_lists_some_records_has_their_number(bulk: Bulk, run: Run) -> None:
    dead_letter = next(each for each in audit_of(bulk.buckets).dead_letters_of(bulk.id) if each.name == "Rejected")
    body = json.loads(bulk.buckets.body("audit", dead_letter.key)) | {"received": 400_000, "rejected_count": 20_000}
    put(bulk.buckets, dead_letter, body)
    shown = run("show", dead_letter.id)
    assert "400,000 received, 20,000 rejected" in shown.stdout
    assert "lists 1 of 20,000 rejected records; the ledger file has all" in shown.stderr
    listed = json.loads(run("--json").stdout)["dead_letters"]
    assert next(each["rejected_count"] for each in listed if each["id"] == dead_letter.id) == 20_000


def test_the_dead_letters_of_many_chunks_are_listed_in_order(buckets: Buckets, run: Run) -> None:
    bulk = Bulk.upload(buckets, lines(100))
    bulk.run(failing=bulk.starts[1:-1])
    ids = [each["id"] for each in json.loads(run("--json").stdout)["dead_letters"]]
    assert len(ids) == len(bulk.starts) - 2 + 1 > 25
    assert ids == sorted(ids)


def test_a_discard_waits_for_the_execution_of_all_chunks(bulk: Bulk, machine: Machine) -> None:
    machine.add(replace(bulk.batch, attempt=3), "RUNNING")
    discarded(bulk.buckets, bulk.id, 600, 2)  # some chunk is at a later attempt
    audit = audit_of(bulk.buckets)
    dead_letter = next(each for each in audit.dead_letters_of(bulk.id) if each.start == 400)
    assert running_execution(machine.pipeline(), audit, dead_letter, audit.read(dead_letter)) == f"{bulk.arn}-r3"
