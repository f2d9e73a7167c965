"""Dead letters and ledger files of which a test says what stands in them, and the command line that reads them."""

import gzip
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from msgspec.structs import asdict
from typer.testing import Result

from custody.audit.dead_letters import Filter, select
from custody.audit.reader import AuditReader
from custody.deployment.target import Deployment, Target
from custody.session import Session
from functions.shared.errors import RecordsRejected
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import DeadLetterKey, LedgerKey
from tests.support.buckets import EXECUTION_ARN, Buckets, session
from tests.support.stages import BAD, GOOD, written

DAY = "2026-11-23"
NEXT_DAY = "2026-11-24"
MIXED = b"[" + GOOD + b", " + BAD + b"]"
Run = Callable[..., Result]


def a_deployment(**outputs: Any) -> Deployment:
    """Return the outputs of a stack on the buckets in memory; what a test does not give is empty."""
    known: dict[str, Any] = {"raw": "raw", "processed": "processed", "audit": "audit", "chunk_bytes": 10**6} | outputs
    return Deployment(**{field.name: known.get(field.name, "") for field in fields(Deployment)})


def a_session(deployment: Deployment | None = None) -> Session:
    """Open a session on the buckets in memory."""
    return Session(Target("buckets in memory", session(), None), deployment or a_deployment())


def reads_of(name: str, monkeypatch: pytest.MonkeyPatch) -> list[LedgerKey]:
    """Take down which ledger files are read by a method of Books, such as `header`, from now on."""
    read: list[LedgerKey] = []
    true = getattr(AuditReader, name)

    def noting(self: AuditReader, entry: LedgerKey, *more: Any) -> Any:
        read.append(entry)
        return true(self, entry, *more)

    monkeypatch.setattr(AuditReader, name, noting)
    return read


def an_id(number: int) -> str:
    return f"mission-a-json-{number:024x}"


def posted(  # noqa: PLR0913 - one parameter a fact
    buckets: Buckets,
    number: int = 0,
    *,
    attempt: int = 0,
    name: str = "Validate",
    day: str = DAY,
    start: int = 0,
    raw: RawObject | None = None,
    arn: str = EXECUTION_ARN,
    **facts: Any,
) -> DeadLetterKey:
    """Put a dead letter of an object, by number, into the audit bucket."""
    dead_letter = DeadLetterKey(raw.id if raw else an_id(number), start, attempt, day, name)
    body = {
        **head(dead_letter.object_id, start, attempt, raw),
        "step": "Write" if name == "Rejected" else name,
        "error": "AccessRefused",
        "cause": "told by a test",
        "advice": "None.",
        "resumes_at": "Validate",
        "received": None,
        "rejected_count": len(facts["rejected"]) if "rejected" in facts else None,
        "rejected": [],
        "execution": {"arn": arn, "started_at": f"{DAY}T09:00:00.000Z", "redrives": 0, "console": "https://console"},
        "recorded_at": f"{day}T09:00:01.000Z",
    }
    buckets.s3.put_object(Bucket="audit", Key=dead_letter.key, Body=json.dumps(body | facts).encode())
    return dead_letter


def head(object_id: str, start: int, attempt: int, raw: RawObject | None = None) -> dict[str, Any]:
    """Give what every dead letter and ledger file begins with."""
    named = raw or RawObject("raw", "mission/a.json", "v1", 1, "e")
    return {
        "format": 1,
        "object": {"id": object_id} | asdict(named),
        "chunk": {"start": start, "bytes": 100} if start else None,
        "dataset": "mission",
        "contract": None,
        "code": {},
        "attempt": attempt,
        "redrive_of": None,
        "parent": None,
    }


def committed(buckets: Buckets, entry: LedgerKey, *, rejected: int = 0, arn: str = EXECUTION_ARN) -> None:
    counts = {"received": 1 + rejected, "written": 1, "rejected": rejected}
    header = head(entry.object_id, entry.start, entry.attempt) | {"counts": counts, "execution": arn, "output": None}
    body = json.dumps(header | {"recorded_at": f"{DAY}T10:00:00.000Z"}).encode()
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(body + b"\n"))


def delivered_in_part(buckets: Buckets, key: str = "mission/a.json") -> DeadLetterKey:
    """Send a good record and a bad one through the stages; give the dead letter of the bad one."""
    with pytest.raises(RecordsRejected):
        written(buckets, key, MIXED)
    (found,) = (dead_letter for dead_letter in map(DeadLetterKey.parse, buckets.keys("audit")) if dead_letter)
    return found


def redriven_in_vain(buckets: Buckets, name: str = "Validate") -> DeadLetterKey:
    """Deliver 2 of 6 records at attempt 0, then fail attempt 1; give the dead letter of that, which knows no record."""
    with pytest.raises(RecordsRejected):
        written(buckets, "mission/a.json", b"[" + b", ".join([GOOD, BAD, BAD, GOOD, BAD, BAD]) + b"]")
    raw = RawObject(**{name: part for name, part in buckets.dead_letter()["object"].items() if name != "id"})
    return posted(buckets, raw=raw, attempt=1, name=name)


def chosen(buckets: Buckets, **wanted: Any) -> list[DeadLetterKey]:
    return [found.dead_letter for found in select(AuditReader(buckets.s3, "audit"), Filter(**wanted))]
