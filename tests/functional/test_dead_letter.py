"""DeadLetter: a letter for everything that fails, and the true error again."""

import json
from typing import Any

import pytest

from functions.dead_letter.handler import handle
from functions.shared.errors import AccessRefused, MessageRefused, RecordsRejected, StepFailed
from tests.functional.stages import BAD, GOOD, transformed, validated
from tests.rooms import STARTED_AT, Rooms, called_with


def failed(message: dict[str, Any], step: str, error: str, said: str = "said", **more: Any) -> dict[str, Any]:
    cause = json.dumps({"errorMessage": said, "errorType": error, **more})
    return called_with(message | {"failure": {step: {"Error": error, "Cause": cause}}}, "DeadLetter")


def test_a_batch_that_failed_before_it_was_read_has_a_letter_with_all_that_is_known(rooms: Rooms) -> None:
    batch = rooms.upload("mission/a.json", GOOD)
    with pytest.raises(AccessRefused, match="GetObject was answered AccessDenied"):
        handle(failed(batch.encode(), "Validate", "AccessRefused", "GetObject was answered AccessDenied"), None)

    letter = rooms.letter()
    assert letter["object"]["version_id"] == batch.object.version_id
    assert (letter["dataset"], letter["received"], letter["rejected"]) == ("mission", None, [])
    assert "role of the function" in letter["advice"]
    day = STARTED_AT[:10]
    assert rooms.keys("audit") == [f"letters/dt={day}/{batch.object.id}/000000000000000.0.Validate.json"]


def test_a_second_call_writes_no_second_letter_and_raises_the_same(rooms: Rooms) -> None:
    event = failed(rooms.upload("mission/a.json", GOOD).encode(), "Write", "AccessRefused")
    for _ in range(2):
        with pytest.raises(AccessRefused, match="said"):
            handle(event, None)
    assert len(rooms.s3.list_object_versions(Bucket="audit")["Versions"]) == 1


def test_a_crash_between_letter_and_ledger_is_made_good_by_the_next_call(rooms: Rooms) -> None:
    batch = rooms.upload("mission/bad.json", BAD)
    with pytest.raises(RecordsRejected):
        validated_again(rooms, batch.encode())
    event = failed(batch.encode(), "Validate", "RecordsRejected")
    with pytest.raises(RecordsRejected):
        handle(event, None)
    (ledger_key,) = [key for key in rooms.keys("audit") if key.startswith("ledger/")]
    rooms.s3.delete_object(Bucket="audit", Key=ledger_key)

    with pytest.raises(RecordsRejected):
        handle(event, None)
    assert rooms.ledger()[0]["counts"] == {"received": 1, "written": 0, "rejected": 1}


def test_a_letter_is_written_even_if_the_contents_of_the_batch_are_gone(rooms: Rooms) -> None:
    batch = rooms.upload("mission/bad.json", BAD)
    with pytest.raises(RecordsRejected):
        handle(failed(batch.encode(), "Validate", "RecordsRejected"), None)
    assert rooms.letter()["received"] is None


def test_a_failure_of_the_engine_is_told_by_its_name_but_not_raised_by_it(rooms: Rooms) -> None:
    message = transformed(rooms, "mission/a.json", GOOD)
    caught = {"Error": "States.Timeout", "Cause": ""}
    with pytest.raises(StepFailed, match=r"^States\.Timeout at Write"):
        handle(called_with(message | {"failure": {"Write": caught}}, "DeadLetter"), None)
    letter = rooms.letter()
    assert (letter["error"], letter["received"]) == ("States.Timeout", 1)


def test_an_error_of_ours_that_a_retry_names_is_not_raised_by_its_name(rooms: Rooms) -> None:
    message = validated(rooms, "mission/a.json", GOOD)
    with pytest.raises(StepFailed, match="ServiceUnavailable at Transform: busy"):
        handle(failed(message, "Transform", "ServiceUnavailable", "busy"), None)
    assert rooms.letter()["error"] == "ServiceUnavailable"


@pytest.mark.parametrize("failure", [None, {}, {"Validate": {}}, "odd"])
def test_a_call_without_a_failure_is_refused(rooms: Rooms, failure: Any) -> None:
    message = rooms.upload("mission/a.json", GOOD).encode() | {"failure": failure}
    with pytest.raises(MessageRefused, match="without a failure"):
        handle(called_with(message, "DeadLetter"), None)


def test_a_very_long_cause_is_cut(rooms: Rooms) -> None:
    with pytest.raises(AccessRefused):
        handle(failed(rooms.upload("mission/a.json", GOOD).encode(), "Write", "AccessRefused", "x" * 30_000), None)
    assert len(rooms.letter()["cause"]) == 8192


def validated_again(rooms: Rooms, message: dict[str, Any]) -> Any:
    from functions.validate.handler import handle as validate  # noqa: PLC0415 - only this test calls it directly

    assert rooms.keys("audit") == []
    return validate(called_with(message, "Validate"), None)
