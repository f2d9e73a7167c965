"""Dead letters and ledger files with given contents, and helpers that read the audit bucket."""

import gzip
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from msgspec import to_builtins
from typer.testing import Result

from custody.audit.dead_letters import Filter, select
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from functions.shared.errors import RecordsRejected
from functions.shared.model.ids import RawObject
from functions.shared.model.keys import DeadLetterKey, LedgerKey
from tests.support.buckets import EXECUTION_ARN, Buckets
from tests.support.stages import BAD, GOOD, MIXED, written

DAY = "2026-11-23"
NEXT_DAY = "2026-11-24"
Run = Callable[..., Result]


def audit_of(buckets: Buckets) -> AuditReader:
    return AuditReader(buckets.s3, "audit")


def state_of(buckets: Buckets, object_id: str) -> ObjectState:
    """Return the state of an object as it is now."""
    return ObjectState(audit_of(buckets), object_id)


def reads_of(name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record which files a method of AuditReader reads from now on, such as `header`."""
    read: list[Any] = []
    original = getattr(AuditReader, name)

    def recording(self: AuditReader, key: Any, *more: Any) -> Any:
        read.append(key)
        return original(self, key, *more)

    monkeypatch.setattr(AuditReader, name, recording)
    return read


@cache
def a_version(number: int) -> RawObject:
    """Return an object version, by number; it need not exist."""
    return RawObject("raw", "mission/a.json", f"v{number}", 1, "e")


def an_id(number: int) -> str:
    return a_version(number).id


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
    key = DeadLetterKey(raw.id if raw else an_id(number), start, attempt, day, name)
    body = {
        **head(key.object_id, start, attempt, raw),
        "step": "Write" if name == "Rejected" else name,
        "error": "AccessRefused",
        "cause": "test failure",
        "advice": "None.",
        "resumes_at": "Validate",
        "received": None,
        "rejected_count": len(facts["rejected"]) if "rejected" in facts else None,
        "rejected": [],
        "execution": {"arn": arn, "started_at": f"{DAY}T09:00:00.000Z", "redrives": 0, "console": "https://console"},
        "recorded_at": f"{day}T09:00:01.000Z",
    }
    put(buckets, key, body | facts)
    return key


def put(buckets: Buckets, key: DeadLetterKey, body: Any) -> None:
    """Put the bytes or the document of a dead letter."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    buckets.put("audit", key.key, content)


def head(object_id: str, start: int, attempt: int, raw: RawObject | None = None) -> dict[str, Any]:
    """Return the fields that dead letters and ledger files share."""
    version = raw or next((each for each in map(a_version, range(100)) if each.id == object_id), a_version(1))
    return {
        "format": 1,
        "object": to_builtins(version),
        "chunk": {"start": start, "bytes": 100} if start else None,
        "dataset": "mission",
        "contract": None,
        "code": {},
        "attempt": attempt,
        "redrive_of": None,
        "parent": None,
    }


def committed(  # noqa: PLR0913 - one parameter a fact
    buckets: Buckets,
    key: LedgerKey,
    *,
    rejected: int = 0,
    arn: str = EXECUTION_ARN,
    lines: bytes = b"",
    raw: RawObject | None = None,
) -> None:
    """Put a ledger file with these counts; `lines` are its records."""
    counts = {"received": 1 + rejected, "written": 1, "rejected": rejected}
    header = head(key.object_id, key.start, key.attempt, raw) | {"counts": counts, "execution": arn, "output": None}
    body = json.dumps(header | {"recorded_at": f"{DAY}T10:00:00.000Z"}).encode() + b"\n"
    buckets.put("audit", key.key, gzip.compress(body) + (gzip.compress(lines) if lines else b""))


def discarded(buckets: Buckets, object_id: str, start: int, attempt: int = 0) -> None:
    """Put a discard of a batch, of which only the key matters."""
    key = LedgerKey(object_id, start, attempt, discards=True)
    buckets.put("audit", key.key, b"")


def delivered_in_part(buckets: Buckets, key: str = "mission/a.json") -> DeadLetterKey:
    """Process a good record and a bad one; return the dead letter of the bad one."""
    before = set(buckets.keys("audit"))
    with pytest.raises(RecordsRejected):
        written(buckets, key, MIXED)
    (dead_letter,) = filter(None, map(DeadLetterKey.parse, set(buckets.keys("audit")) - before))
    return dead_letter


def redriven_in_vain(buckets: Buckets, name: str = "Validate") -> DeadLetterKey:
    """Deliver 2 of 6 records at attempt 0, then fail attempt 1; return its dead letter, which knows no record."""
    with pytest.raises(RecordsRejected):
        written(buckets, "mission/a.json", b"[" + b", ".join([GOOD, BAD, BAD, GOOD, BAD, BAD]) + b"]")
    key = next(filter(None, map(DeadLetterKey.parse, buckets.keys("audit"))))
    return posted(buckets, raw=audit_of(buckets).read(key).object, attempt=1, name=name)


def chosen(buckets: Buckets, **wanted: Any) -> list[DeadLetterKey]:
    return [each.dead_letter for each in select(audit_of(buckets), Filter(**wanted))]
