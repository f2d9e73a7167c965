"""The Structs of the model: what they refuse, and that an error names the place and never quotes a value."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from msgspec.json import Decoder

from functions.shared.model.decoding import Undecodable, decode, from_builtins
from functions.shared.model.ids import RawObject
from functions.shared.model.ledger import (
    DeadLetter,
    FailedExecution,
    LedgerHeader,
    ListedRecord,
    OutputSpan,
    RecordLine,
    RejectedLine,
    WrittenLine,
)
from functions.shared.model.messages import FORMAT, Counts
from functions.shared.model.records import Rejected, Violation
from functions.shared.records.strict_json import encode_struct
from functions.shared.staging.staged_batch import ledger_line

ARN = "arn:aws:states:eu-central-1:1:execution:pipeline:a"
COMMON: dict[str, Any] = {
    "format": FORMAT,
    "object": RawObject("raw", "a.json", "v", 1, "e"),
    "chunk": None,
    "dataset": "mission",
    "contract": None,
    "code": {},
    "redrive_of": None,
    "parent": None,
    "attempt": 0,
    "recorded_at": "2026-11-23T09:00:00Z",
}
HEADER = LedgerHeader(**COMMON, execution=ARN, counts=Counts(1, 1, 0), output=None)
DEAD_LETTER = DeadLetter(
    **COMMON,
    step="Validate",
    error="RecordsRejected",
    cause="a cause",
    advice="Advice.",
    resumes_at="Validate",
    received=1,
    rejected_count=1,
    rejected=(ListedRecord(0, 0, 1, "hash", "validate", (Violation("/a", "type", "number"),), 1, record="a.0"),),
    execution=FailedExecution(ARN, "2026-11-23T09:00:00Z", 0, "https://console"),
)
LINE = WrittenLine(0, 0, 1, "hash", OutputSpan(0, 1, "hash"))
RECORD_LINE: Decoder[RecordLine] = Decoder(RecordLine)


@pytest.mark.parametrize("struct", [HEADER, DEAD_LETTER, LINE])
def test_what_is_written_is_read_back(struct: Struct) -> None:
    decoder: Decoder[Any] = RECORD_LINE if isinstance(struct, WrittenLine) else Decoder(type(struct))
    assert decode(encode_struct(struct), decoder) == struct


def test_the_line_of_a_rejected_record_is_that_of_the_staged_batch() -> None:
    rejected = Rejected(0, 0, 1, "hash", "validate", (Violation("/a", "type", "number"),), 1)
    line = RejectedLine(0, 0, 1, "hash", "validate", rejected.violations, 1)
    assert ledger_line(encode_struct(rejected)) == encode_struct(line) + b"\n"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"format": "secret"}, "`$.format`"),
        ({"format": 2}, "Not one of the values allowed - at `$.format`"),
        ({"object": "secret"}, "Expected `object`, got `str` - at `$.object`"),
        ({"object": {"id": "secret"}}, "missing required field `bucket` - at `$.object`"),
        ({"attempt": -1}, "`int` >= 0 - at `$.attempt`"),
        ({"code": {"secret": 1}}, "- at `$.code[...]`"),
        ({"recorded_at": "secret"}, "`recorded_at` is not an ISO 8601 time with a zone"),
        ({"recorded_at": "2026-11-23T09:00:00"}, "`recorded_at` is not an ISO 8601 time with a zone"),
        ({"rejected": [{"position": "secret"}]}, "- at `$.rejected[0].position`"),
        ({"execution": {"arn": "secret", "started_at": "", "redrives": 0, "console": ""}}, "- at `$.execution.arn`"),
        ({"rejected_count": "secret"}, "- at `$.rejected_count`"),
    ],
)
def test_a_dead_letter_of_another_shape_is_refused_by_place(changed: dict[str, Any], problem: str) -> None:
    body = json.dumps(msgspec.to_builtins(DEAD_LETTER) | changed).encode()
    with pytest.raises(Undecodable) as refused:
        decode(body, Decoder(DeadLetter))
    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("missing", [field.name for field in msgspec.structs.fields(DeadLetter)])
def test_each_part_of_a_dead_letter_is_required(missing: str) -> None:
    body = msgspec.to_builtins(DEAD_LETTER)
    del body[missing]
    with pytest.raises(Undecodable, match=f"missing required field `{missing}`"):
        from_builtins(body, DeadLetter)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"outcome":"secret"}', "Not one of the values allowed - at `$.outcome`"),
        (b'{"position":0}', "missing required field `outcome`"),
        (b"secret", "malformed"),
        (b'{"outcome":"rejected","stage":"\xff"}', "invalid UTF-8"),
        (b'{"outcome":"discarded","position":' + b"[" * 100_000, "`$.position`"),
    ],
)
def test_a_line_that_is_not_of_the_ledger_is_refused(line: bytes, problem: str) -> None:
    with pytest.raises(Undecodable) as refused:
        decode(line, RECORD_LINE)
    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)
