"""Messages, outcomes and the surroundings of a handler."""

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from functions.shared import errors, runtime
from functions.shared.errors import ConfigurationMissing, RecordsRejected
from functions.shared.model import tolerance
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import LedgerKey
from functions.shared.model.messages import Batch, Chunk, Counts, Plan, Step
from functions.shared.model.records import Rejected, Violation
from tests.support.buckets import called_with

BATCH = Batch(RawObject("raw", "mission/a.json", "v1", 7, "etag"))
A_TYPE = Violation("/a", "type", "number")


def rejecting(bad: int, violation: Violation = A_TYPE) -> list[Rejected]:
    return [Rejected(at, 0, 0, "", "validate", (violation,), 1) for at in range(bad)]


@given(
    st.builds(
        Batch,
        st.just(BATCH.object),
        chunk=st.none() | st.builds(Chunk, st.integers(0, 2**50), st.integers(1, 2**30)),
        attempt=st.integers(0, 1000),
        redrive_of=st.none() | st.just("arn:…"),
        plan=st.none() | st.builds(Plan, st.integers(1), st.lists(st.integers(0)).map(tuple)),
    )
)
def test_a_batch_survives_json(batch: Batch) -> None:
    assert Batch.decode(json.loads(json.dumps(batch.encode()))) == batch


def test_the_id_of_an_object_is_derived_whatever_a_message_says() -> None:
    message = BATCH.encode()
    message["object"]["id"] = "mission-b-json-0123"
    assert Batch.decode(message) == BATCH


@pytest.mark.parametrize(
    ("first", "sent", "redrives", "attempt"),
    [
        pytest.param(0, 0, 0, 0, id="first"),
        pytest.param(0, 0, 1, 1, id="stopped and redriven: the same message again"),
        pytest.param(0, 1, 1, 1, id="resumed by DeadLetter"),
        pytest.param(2, 2, 0, 2, id="a new execution for the third attempt"),
        pytest.param(2, 2, 1, 3, id="which is redriven itself"),
        pytest.param(0, 1, 0, 1, id="the context is behind, the message is not"),
    ],
)
def test_the_attempt_is_counted_by_the_execution(first: int, sent: int, redrives: int, attempt: int) -> None:
    event = called_with(replace(BATCH, attempt=sent).encode(), "Write", redrives=redrives)
    event["execution"]["Input"] = {"attempt": first}
    if not redrives:
        del event["execution"]["RedriveCount"]
    step = Step.decode(event)
    assert (step.batch.attempt, step.execution.redrives) == (attempt, redrives)


def test_ledger_files_sort_as_their_chunks_do() -> None:
    starts = [0, 9, 67_108_864, 53_687_091_199_999]
    keys = [LedgerKey.of(replace(BATCH, chunk=Chunk(start, 100))).key for start in starts]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("good", "bad", "percent", "tolerable"),
    [
        (0, 0, 0, True),
        (1, 0, 0, True),
        (99, 1, 0, False),
        (99, 1, 1, True),
        (98, 2, 1, False),
        (0, 1, 100, False),
        (1, 1, 50, True),
    ],
)
def test_rejects_are_tolerable_up_to_a_percentage(good: int, bad: int, percent: float, tolerable: bool) -> None:
    assert tolerance.is_tolerable(Counts(good + bad, good, bad), percent) is tolerable


def test_an_error_message_lists_the_first_records_counts_the_rest_and_stays_short() -> None:
    message = str(tolerance.rejection(BATCH, Counts(13, 1, 12), rejecting(12)))
    assert message.startswith("12 of 13 records rejected: ")
    assert f"{BATCH.object.id}.0 at validate: /a: type number" in message
    assert message.endswith("and 2 more, in the ledger")
    rejected = rejecting(12, Violation("/" + "a" * 100_000, "type"))
    assert len(str(tolerance.rejection(BATCH, Counts(5000, 0, 5000), rejected))) < 8192


def test_every_error_has_advice_and_a_docstring() -> None:
    assert RecordsRejected.__name__ in errors.BY_NAME
    for name, error in errors.BY_NAME.items():
        assert error.advice.endswith("."), name
        assert error.__doc__, name


class Variables(Struct, frozen=True):
    """What a handler might read."""

    some_bucket: str
    some_limit: int


@pytest.mark.parametrize("limit", [None, "seven"])
def test_environment_variables_are_typed_and_a_missing_or_malformed_one_is_named(
    monkeypatch: pytest.MonkeyPatch, limit: str | None
) -> None:
    monkeypatch.setenv("SOME_BUCKET", "b")
    with monkeypatch.context() as valid:
        valid.setenv("SOME_LIMIT", "7")
        assert runtime.environment(Variables) == Variables("b", 7)
    if limit:
        monkeypatch.setenv("SOME_LIMIT", limit)
    with pytest.raises(ConfigurationMissing, match="some_limit"):
        runtime.environment(Variables)


def test_the_log_of_a_call_names_it_and_holds_no_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(runtime.logger.registered_handler, "stream", log)

    def handler(event: dict[str, Any], _: Any) -> Any:
        if event.get("fail"):
            raise RecordsRejected("1 of 1 records rejected")
        return {"counts": {"received": 1}, "records": ["secret"]}

    observed = runtime.observed(handler)
    event: dict[str, Any] = {"execution": {"Name": "the-execution"}, "batch": {"attempt": 2, "records": ["secret"]}}
    observed(event, None)
    with pytest.raises(RecordsRejected):
        observed(event | {"fail": True}, None)

    done, failed = (json.loads(line) for line in log.getvalue().splitlines())
    assert (done["execution"], done["attempt"], done["counts"]) == ("the-execution", 2, {"received": 1})
    assert (failed["error"], failed["level"]) == ("RecordsRejected", "WARNING")
    assert "secret" not in json.dumps([done, failed])
