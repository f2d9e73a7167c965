"""The bulk machine is composed of its own states and of those of the pipeline, for chunks."""

import json
from typing import Any

from msgspec.structs import replace

from functions.shared.audit import chunk_totals, dead_letter
from functions.shared.model import messages
from functions.shared.model.chunking import MOST_CHUNKS
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk, Plan
from infra.constructs import bulk_definition
from infra.constructs.bulk_definition import MAP
from tests.support.steps import BULK, OF_CHUNKS, STEPS
from tests.support.template import ACCOUNT


def test_a_chunk_has_the_steps_of_a_batch_but_no_resume_as_its_object_is_redriven() -> None:
    assert OF_CHUNKS["StartAt"] == "ValidateChunk"
    assert set(OF_CHUNKS["States"]) == {f"{name}Chunk" for name in (*STEPS, "DeadLetter")}
    assert OF_CHUNKS["States"]["DeadLetterChunk"]["End"] is True
    assert "resumable" not in OF_CHUNKS["States"]["DeadLetterChunk"]["Parameters"]["Payload"]
    assert BULK["States"][MAP]["ToleratedFailurePercentage"] == 100.0, "a failed chunk does not stop the others"


def test_a_successful_chunk_outputs_nothing_as_all_outputs_share_one_state() -> None:
    # https://states-language.net/spec.html#filters: an OutputPath of null gives {}
    assert OF_CHUNKS["States"]["WriteChunk"]["OutputPath"] is None
    assert BULK["States"][MAP]["ResultPath"] is None


def test_the_input_of_a_chunk_decodes_as_its_batch() -> None:
    raw = RawObject("raw", "mission/a.jsonl", "v", 100, "e")
    whole = Batch(raw, attempt=2, redrive_of="arn:before", plan=Plan(40, (0, 40, 80)))
    message = whole.encode() | {"resume": MAP}
    context = {"Map": {"Item": {"Value": 40}}, "Execution": {"Id": "arn:parent"}}

    def value(path: str) -> Any:
        value_at: Any = context if path.startswith("$$") else message
        for part in path.lstrip("$").strip(".").split("."):
            value_at = value_at[part]
        return value_at

    def filled(template: dict[str, Any]) -> dict[str, Any]:
        return {
            name.removesuffix(".$"): value(given) if name.endswith(".$") else filled(given)
            for name, given in template.items()
        }

    chunk = filled(BULK["States"][MAP]["ItemSelector"])
    assert Batch.decode(chunk) == Batch(raw, Chunk(40, 40), attempt=2, redrive_of="arn:before", parent="arn:parent")
    assert chunk | {"plan": None} == Batch.decode(chunk).encode()
    assert value(BULK["States"][MAP]["ItemsPath"]) == [0, 40, 80]


def test_names_of_states_are_unique_within_a_machine_and_those_that_functions_use() -> None:
    assert not set(BULK["States"]) & set(OF_CHUNKS["States"])
    assert bulk_definition.OF_A_CHUNK == messages.CHUNK_SUFFIX
    assert (MAP, BULK["States"][MAP]["Next"]) == (dead_letter.PROCESS_CHUNKS, dead_letter.SUMMARIZE)
    assert BULK["States"][MAP]["Label"] == MAP, "the ARNs in the policies are made of it"


STATE_LIMIT = 256 * 1024
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""


def state_bytes(state: Any) -> int:
    return len(json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode())


def test_no_state_of_the_largest_object_exceeds_the_limit() -> None:
    # S3 holds 5 TB at most, under keys of at most 1,024 bytes, each of which JSON may escape with one more.
    size = 5 * 10**12
    raw = RawObject("b" * 63, "\\" * 1024, "v" * 1024, size, "e" * 64)
    starts = tuple(range(0, size, size // MOST_CHUNKS))
    arn = f"arn:aws:states:eu-west-1:{ACCOUNT}:execution:custody-{'e' * 12}-bulk:{'n' * 80}"
    batch = Batch(raw, attempt=999, redrive_of=arn, plan=Plan(size // MOST_CHUNKS, starts))
    # A cause is the JSON of an error, of at most 32,768 characters of at most four bytes each
    # (https://docs.aws.amazon.com/step-functions/latest/apireference/API_LambdaFunctionFailedEventDetails.html).
    failed = batch.encode() | {"failure": {"Summarize": {"Error": "E" * 256, "Cause": "\U0001f6a7" * 32_768}}}
    resumed = batch.encode() | {"resume": "Summarize", chunk_totals.CHUNKS_ATTEMPT: 999}
    answers: list[Any] = [{}] * MOST_CHUNKS

    assert len(starts) == MOST_CHUNKS
    for state in (batch.encode(), resumed, answers):
        assert state_bytes(state) < STATE_LIMIT / 2
    assert state_bytes(failed) < STATE_LIMIT
    assert state_bytes(replace(batch, plan=None).encode()) < STATE_LIMIT / 20, "what each chunk begins with"
