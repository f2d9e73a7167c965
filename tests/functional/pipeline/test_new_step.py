"""A new step after Transform is treated like any other by the ledger, the dead letters and a redrive."""

from typing import Any

import pytest
from msgspec.structs import replace

from custody.audit.dead_letters import Filter, select
from custody.audit.reader import AuditReader
from functions.shared.errors import MessageRefused, RecordsRejected, TransformFailed
from functions.shared.model.messages import Facts, Step
from functions.shared.model.records import Rejection
from functions.shared.staging import claim_check, map_records
from functions.transform import core, handler
from tests.support.buckets import Buckets, called_with
from tests.support.failures import record, resume
from tests.support.stages import GOOD, call, transformed, validated

TWO = b"[%b, %b]" % (GOOD, GOOD.replace(b"space", b"ocean"))
INLINE, STAGED = 65_536, 0


def enrich(message: dict[str, Any], inline_limit: int = INLINE) -> dict[str, Any]:
    """Do what the handler of such a step does: add something, and reject what is of the ocean."""

    def change(record: dict[str, Any]) -> dict[str, Any]:
        if record["mission"] == "ocean":
            raise Rejection("/mission", "dry")
        return record | {"planet": "Earth"}

    step = Step.decode(called_with(message, "Enrich"))
    facts = Facts.decode(message).passed("enrich", "e-code")
    pages = claim_check.pages(step)
    environment = replace(handler.ENVIRONMENT, inline_limit_bytes=inline_limit)
    return map_records.forward(step, facts, pages, change, "enrich", environment)


@pytest.mark.parametrize("inline_limit", [INLINE, STAGED])
def test_its_results_are_delivered_and_its_rejects_committed(buckets: Buckets, inline_limit: int) -> None:
    message = enrich(transformed(buckets, "mission/two.json", TWO), inline_limit)
    with pytest.raises(RecordsRejected, match="at enrich: /mission: dry"):
        call("Write", message)

    header, first, second = buckets.ledger()
    assert header["code"]["enrich"] == "e-code"
    assert (first["outcome"], second["outcome"], second["stage"]) == ("written", "rejected", "enrich")
    assert b'"planet":"Earth"' in buckets.the_only("processed")


@pytest.mark.parametrize("inline_limit", [INLINE, STAGED])
def test_a_batch_that_it_rejects_whole_is_committed(buckets: Buckets, inline_limit: int) -> None:
    message = transformed(buckets, "mission/ocean.json", GOOD.replace(b"space", b"ocean"))
    with pytest.raises(RecordsRejected):
        enrich(message, inline_limit)
    record(message, "Enrich", "RecordsRejected")

    header, line = buckets.ledger()
    assert header["counts"] == {"received": 1, "written": 0, "rejected": 1}
    assert header["code"]["enrich"] == "e-code"
    assert (line["stage"], line["violations"][0]["rule"]) == ("enrich", "dry")
    dead_letter = buckets.dead_letter()
    assert (dead_letter["step"], dead_letter["resumes_at"]) == ("Enrich", "Validate"), "a data error starts again"


def test_its_dead_letter_is_selected_by_step_and_a_redrive_resumes_there(buckets: Buckets) -> None:
    message = transformed(buckets, "mission/a.json", GOOD)
    record(message, "Enrich", "AccessRefused")

    (selected,) = select(AuditReader(buckets.s3, "audit"), Filter(step="enrich"))
    assert selected.dead_letter.name == "Enrich"
    assert not list(select(AuditReader(buckets.s3, "audit"), Filter(step="write")))
    resumed = resume(message, "Enrich", "AccessRefused")
    assert (resumed["resume"], resumed["attempt"]) == ("Enrich", 1)
    assert enrich(resumed)["counts"] == {"received": 1, "written": 0, "rejected": 0}


def test_a_record_that_breaks_it_is_made_anew_by_a_redrive(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "load", lambda _: lambda record: {"source": record["source"]})
    message = transformed(buckets, "mission/a.json", GOOD)
    with pytest.raises(TransformFailed):
        enrich(message)
    record(message, "Enrich", "TransformFailed")
    assert buckets.dead_letter()["resumes_at"] == "Validate"

    monkeypatch.undo()
    resumed = resume(message, "Enrich", "TransformFailed")
    assert (resumed["resume"], resumed["attempt"]) == ("Validate", 1)
    assert "claim" not in resumed, "nothing of what was made before is left"


def test_records_still_in_the_raw_bucket_are_refused(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.json", GOOD) | {"claim": {"raw": True, "rejected": None}}
    with pytest.raises(MessageRefused, match="a step before this one must process them"):
        enrich(message)
