"""`custody dead-letters discard`: only what was not delivered, and the ledger says who decided this, and why."""

import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from custody.audit.reader import AuditReader
from custody.audit.subject import Subject, find_dead_letter
from custody.commands import dead_letters as commands_dead_letters
from custody.errors import SOME_WITHOUT_OUTCOME, CommandFailed
from custody.recovery.discard import require_idle
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import DeadLetterKey, LedgerKey
from tests.support.audit_files import (
    NEXT_DAY,
    Run,
    an_id,
    audit_of,
    chosen,
    committed,
    delivered_in_part,
    posted,
    put,
    redriven_in_vain,
)
from tests.support.buckets import EXECUTION_ARN, Buckets, parse_ledger_file
from tests.support.command_line import refusal
from tests.support.executions import Machine, arn_of
from tests.support.stages import GOOD, MIXED, written

LAST_MINUTE = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)


def test_a_discard_is_committed_beside_the_delivery_and_resolves_the_dead_letter(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    before = {key: buckets.body("audit", key) for key in buckets.keys("audit")}

    done = run("discard", dead_letter.id, "--reason", " sent by mistake ")

    assert done.exit_code == 0, done.output
    entry = LedgerKey(dead_letter.object_id, 0, 0, discards=True)
    header, lines = parse_ledger_file(buckets.body("audit", entry.key))
    body = json.loads(before[dead_letter.key])
    assert lines == [
        {name: body["rejected"][0][name] for name in ("position", "offset", "length", "sha256")}
        | {"outcome": "discarded"}
    ]
    assert datetime.now(UTC) - datetime.fromisoformat(header.pop("recorded_at")) < timedelta(minutes=5)
    by = header["discarded"].pop("by")
    assert by.startswith("arn:aws:")
    assert header == {
        **{name: body[name] for name in ("format", "object", "chunk", "dataset", "contract", "code")},
        "execution": EXECUTION_ARN,
        "redrive_of": None,
        "parent": None,
        "attempt": 0,
        "counts": {"received": 2, "written": 1, "rejected": 0, "discarded": 1},
        "output": None,
        "discarded": {"dead_letter": dead_letter.key, "reason": "sent by mistake"},
    }
    assert "discarded: 1 record, of s3://raw/mission/a.json" in done.stdout
    assert f"{dead_letter.object_id}.1" in done.stdout
    assert {key: buckets.body("audit", key) for key in before} == before, "nothing else is changed"
    assert chosen(buckets) == []
    assert f"by {by}: sent by mistake" in run("show", dead_letter.id).stdout


@pytest.mark.parametrize(
    ("facts", "counts", "described"),
    [
        ({}, None, "the whole batch, which was never read"),
        (
            {"name": "Write", "received": 2},
            {"received": 2, "written": 0, "rejected": 0, "discarded": 2},
            "the whole batch of 2 records",
        ),
    ],
    ids=["never read", "never committed"],
)
def test_a_batch_that_was_not_committed_is_discarded_whole(
    buckets: Buckets, run: Run, facts: dict[str, Any], counts: dict[str, int] | None, described: str
) -> None:
    dead_letter = posted(buckets, raw=buckets.upload("mission/a.json", MIXED).object, **facts)

    done = run("discard", dead_letter.id, "--reason", "of no use")

    assert f"discarded: {described}" in done.stdout
    header, lines = parse_ledger_file(buckets.body("audit", LedgerKey(dead_letter.object_id, 0, 0, discards=True).key))
    assert (header["counts"], lines) == (counts, [])


def test_a_discard_is_a_document(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    document = json.loads(run("discard", dead_letter.id, "--reason", "of no use", "--json").stdout)

    (discard,) = document["discards"]
    assert (discard["counts"]["discarded"], discard["records"]) == (1, [f"{dead_letter.object_id}.1"])
    assert document["still_open"] == 0


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_discard_needs_a_reason(buckets: Buckets, run: Run, reason: str) -> None:
    assert "needs a reason" in refusal(run("discard", delivered_in_part(buckets).id, "--reason", reason))


@pytest.mark.parametrize(
    ("resolve", "reason"),
    [
        (lambda buckets: committed(buckets, LedgerKey(an_id(1), 0, 0)), "attempt 0 was committed"),
        (
            lambda buckets: committed(buckets, LedgerKey(an_id(1), 0, 2), rejected=3),
            "attempt 2 was committed .* 3 rejected",
        ),
        (
            lambda buckets: posted(buckets, 1, attempt=1, day=NEXT_DAY),
            "superseded by a later dead letter: dt=2026-11-24/.*1.Validate",
        ),
    ],
)
def test_a_resolved_dead_letter_is_not_discarded(
    buckets: Buckets, run: Run, resolve: Callable[[Buckets], Any], reason: str
) -> None:
    dead_letter = posted(buckets, 1)
    resolve(buckets)

    refused = refusal(run("discard", dead_letter.id, "--reason", "any"), SOME_WITHOUT_OUTCOME)

    assert re.search(reason, refused)
    assert not any("discarded" in key for key in buckets.keys("audit"))


def test_of_two_simultaneous_discards_one_is_refused(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_letter = delivered_in_part(buckets)
    monkeypatch.setattr("custody.recovery.discard.resolution", lambda *_: None)
    run("discard", dead_letter.id, "--reason", "the first")
    refused = run("discard", dead_letter.id, "--reason", "the second")
    assert "has just discarded" in str(refused.exception)


@pytest.mark.parametrize("name", [an_id(1), f"{an_id(1)}-r1"])
def test_a_dead_letter_is_not_discarded_while_a_redrive_is_running(
    buckets: Buckets, machine: Machine, name: str
) -> None:
    audit, pipeline = audit_of(buckets), machine.pipeline()
    running = machine.add(buckets.upload("mission/a.json", GOOD), "RUNNING", name=name)
    dead_letter = posted(buckets, 1, arn=arn_of(an_id(1)))
    body = audit.read(dead_letter)

    with pytest.raises(CommandFailed, match=f"is running: {running}"):
        require_idle(pipeline, audit, dead_letter, body)

    machine.executions[running]["status"] = "ABORTED"
    require_idle(pipeline, audit, dead_letter, body)


def test_a_discard_counts_what_an_earlier_attempt_delivered(buckets: Buckets, run: Run) -> None:
    dead_letter = redriven_in_vain(buckets)

    done = run("discard", dead_letter.id, "--reason", "of no use")

    assert done.exit_code == 0, done.output
    header, lines = parse_ledger_file(buckets.body("audit", LedgerKey(dead_letter.object_id, 0, 1, discards=True).key))
    assert header["counts"] == {"received": 6, "written": 2, "rejected": 0, "discarded": 4}
    assert [(line["position"], line["outcome"]) for line in lines] == [(at, "discarded") for at in (1, 2, 4, 5)]
    assert "discarded: 4 records (2 of the batch were written by attempt 0), of s3://raw/mission/a.json" in done.stdout
    assert f"{dead_letter.object_id}.4" in done.stdout


def uncommitted(buckets: Buckets) -> DeadLetterKey:
    """Deliver a batch without committing it; return its dead letter."""
    raw = RawObject(**written(buckets, "mission/a.json", GOOD)["object"])
    buckets.forget("audit", "ledger/")
    return posted(buckets, raw=raw, name="Write", received=1)


def test_an_uncommitted_delivery_is_not_discarded(buckets: Buckets, run: Run) -> None:
    dead_letter = uncommitted(buckets)

    refused = run("discard", dead_letter.id, "--reason", "any")

    assert "has delivered a processed object that no ledger file claims" in str(refused.exception)
    assert f"Redrive it instead: custody redrive {dead_letter.id}" in str(refused.exception)
    assert buckets.keys("audit", "ledger/") == []


def test_an_uncommitted_delivery_of_a_later_attempt_is_not_discarded(buckets: Buckets, run: Run) -> None:
    dead_letter = redriven_in_vain(buckets, "Write")
    (key,) = buckets.keys("processed")
    body = buckets.body("processed", key)
    buckets.put("processed", key, body + GOOD + b"\n")
    refused = run("discard", dead_letter.id, "--reason", "any")
    assert "has delivered a processed object that no ledger file claims" in str(refused.exception)

    buckets.put("processed", key, body)
    assert run("discard", dead_letter.id, "--reason", "any").exit_code == 0, "what the ledger claims, as a new version"


@pytest.mark.parametrize(
    "undo",
    [
        lambda buckets: buckets.put("processed", buckets.keys("processed")[0], b""),
        lambda buckets: buckets.hide("processed", buckets.keys("processed")[0]),
        lambda buckets: buckets.forget("raw"),
    ],
    ids=["emptied", "hidden by a delete marker", "raw version expired"],
)
def test_what_is_not_known_to_be_delivered_is_discarded(
    buckets: Buckets, run: Run, undo: Callable[[Buckets], object]
) -> None:
    dead_letter = uncommitted(buckets)
    undo(buckets)
    assert (done := run("discard", dead_letter.id, "--reason", "any")).exit_code == 0, done.exception


def test_an_object_id_with_two_open_dead_letters_is_ambiguous(buckets: Buckets, run: Run) -> None:
    one = posted(buckets, 1, name="Validate")
    posted(buckets, 1, name="Write", day=NEXT_DAY)

    refused = run("discard", one.object_id, "--reason", "any")

    assert f"2 dead letters of {one.object_id} are open. Name one" in refusal(refused)
    assert buckets.keys("audit", "ledger/") == []
    assert (
        f"There is another dead letter of attempt 0: custody dead-letters show {one.id}"
        in run("show", one.object_id).stderr
    )
    assert json.loads(run("show", one.object_id, "--json").stdout)["same_attempt"] == [one.id]


def test_an_object_id_stands_for_its_open_dead_letter(buckets: Buckets) -> None:
    raw = buckets.upload("mission/a.json", GOOD).object
    is_open = posted(buckets, raw=raw, name="Validate", arn=f"{EXECUTION_ARN}-r1")
    posted(buckets, raw=raw, name="Write")
    committed(buckets, LedgerKey(raw.id, 0, 0), raw=raw)

    assert find_dead_letter(AuditReader(buckets.s3, "audit"), Subject(raw.id), open_only=True) == is_open


@pytest.mark.parametrize("command", [["show"], ["discard", "--reason", "any"]])
@pytest.mark.parametrize("record", ["2", "99999", "9" * 5000, "x", ""], ids=["next", "far", "endless", "word", "none"])
def test_a_record_that_does_not_exist_is_refused(buckets: Buckets, run: Run, command: list[str], record: str) -> None:
    dead_letter = delivered_in_part(buckets)
    refused = refusal(run(*command, f"{dead_letter.object_id}.{record}"))
    assert re.search("(There is no|No) record", refused)
    assert not any("discarded" in key for key in buckets.keys("audit"))


@pytest.fixture
def several(buckets: Buckets) -> list[DeadLetterKey]:
    """Return open dead letters of two errors; there are a resolved one, and a damaged file of the next day too."""
    keys = [
        posted(buckets, number, error="UnknownDataset" if number % 2 else "AccessRefused") for number in range(1, 7)
    ]
    committed(buckets, LedgerKey(posted(buckets, 7).object_id, 0, 0))
    put(buckets, DeadLetterKey(an_id(8), 0, 0, NEXT_DAY, "Validate"), b"not ours")
    return keys


def test_filters_select_what_is_discarded(buckets: Buckets, run: Run, several: list[DeadLetterKey]) -> None:
    done = run("discard", "--error", "UnknownDataset", "--until", "2026-11-23T23:59", "--reason", "any", "--yes")
    assert done.exit_code == 0, done.output
    assert "to be discarded: 3 dead letters of 3 object versions" in done.stderr
    assert "3 dead letters discarded; 0 records" in done.stdout
    assert sorted(chosen(buckets, until=LAST_MINUTE)) == sorted(several[1::2])


def test_several_are_listed_and_discarded_once_confirmed(
    buckets: Buckets, run: Run, several: list[DeadLetterKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = "discard", "--open", "--until", "2026-11-23T23:59", "--reason", "any"
    refused = run(*arguments)
    assert "Add --yes if you are sure" in refusal(refused)
    assert all(key.id in refused.stdout for key in several)
    monkeypatch.setattr(commands_dead_letters, "sys", SimpleNamespace(stdin=Mock(), stdout=sys.stdout))
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert refusal(run(*arguments)) == "Nothing was discarded."
    assert len(chosen(buckets, until=LAST_MINUTE)) == len(several)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert run(*arguments).exit_code == 0
    assert chosen(buckets, until=LAST_MINUTE) == []


def test_what_cannot_be_read_or_discarded_is_named_and_the_rest_is_discarded(
    buckets: Buckets, run: Run, machine: Machine, several: list[DeadLetterKey]
) -> None:
    raw = uncommitted(buckets)  # and whatever was committed before
    done = run("discard", "--open", "--reason", "any", "--yes", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, len(document["discards"]), document["still_open"]) == (1, len(several) + 1, 1)
    assert [(each["dead_letter"], "no ledger file claims" in each["why"]) for each in document["refused"]] == [
        (raw.id, True)
    ]
    assert "unreadable, and not discarded: s3://audit/dead-letters/dt=2026-11-24/" in done.stderr
    assert machine.calls["DescribeExecution"] == 2 * (len(several) + 2)


def test_a_key_stands_for_all_its_versions(buckets: Buckets, run: Run) -> None:
    versions = [buckets.upload("mission/a.json", GOOD).object for _ in range(3)]
    for raw in versions[:2]:
        posted(buckets, raw=raw)
    done = run("discard", "mission/a.json", "--reason", "any", "--yes")
    assert done.exit_code == 0, done.output
    assert "to be discarded: 2 dead letters of 2 object versions" in done.stderr
    assert chosen(buckets) == []


@pytest.mark.parametrize("arguments", [(), (an_id(1), "--open")])
def test_a_discard_needs_either_an_id_or_filters(run: Run, arguments: tuple[str, ...]) -> None:
    assert "Name either a dead letter, or --open or filters" in refusal(run("discard", *arguments, "--reason", "any"))
