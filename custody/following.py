"""Put objects into the raw bucket, follow their executions, and read what became of each record."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.executions import RUNNING
from custody.failure import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME
from custody.target import Deployment, Target
from functions.shared.identity import RawObject, record_id
from functions.shared.ledger import parse_ledger_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

NOT_STARTED = "NOT STARTED"
"""Stands for the status of an execution that is not there."""

_STATES = ("TaskStateEntered", "ChoiceStateEntered")


@dataclass(frozen=True)
class Sent:
    """An object that was put, and the ARN that its execution has or will have."""

    file: str
    raw: RawObject
    execution: str


@dataclass(frozen=True)
class Fate:
    """What became of an object: `status` of its execution, and a line for each record that has an outcome."""

    sent: Sent
    status: str
    records: list[dict[str, Any]]
    output: dict[str, str] | None
    error: str | None = None
    cause: str | None = None
    letter: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.status not in {*RUNNING, NOT_STARTED}

    @property
    def code(self) -> int:
        """The exit code that this alone would give."""
        has_outcome = self.status == "SUCCEEDED" or bool(self.records)
        if not has_outcome:
            return SOME_WITHOUT_OUTCOME
        return SOME_REJECTED if any(record["outcome"] != "written" for record in self.records) else ALL_WRITTEN

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        raw = {"object_id": self.sent.raw.id} | asdict(self.sent.raw)
        return {"file": self.sent.file, "object": raw, "execution": self.sent.execution} | {
            "status": self.status,
            "records": self.records,
            "output": self.output,
            "error": self.error,
            "cause": self.cause,
            "letter": self.letter,
        }


class Follower:
    """Sends and follows, on one deployment."""

    def __init__(self, target: Target, deployment: Deployment) -> None:
        self._s3: S3Client = target.client("s3")
        self._stepfunctions: SFNClient = target.client("stepfunctions")
        self._deployment = deployment
        self._pause = 0.05 if target.is_local else 1.0

    def send(self, file: Path, key: str) -> Sent:
        """Put a file into the raw bucket under a key."""
        body = file.read_bytes()
        answer = self._s3.put_object(Bucket=self._deployment.raw, Key=key, Body=body)
        etag = answer["ETag"].strip('"')
        raw = RawObject(self._deployment.raw, key, answer["VersionId"], len(body), etag)
        machine = self._deployment.pipeline_arn.replace(":stateMachine:", ":execution:")
        return Sent(str(file), raw, f"{machine}:{raw.id}")

    def watch(self, sent: Sent, seconds: float) -> Iterator[str]:
        """Say where an execution is whenever that changes, until it has ended or the time is up."""
        deadline = time.monotonic() + seconds
        said = ""
        while time.monotonic() < deadline:
            now = self._whereabouts(sent)
            if now != said:
                yield now
                said = now
            if now.isupper():
                return
            time.sleep(self._pause)

    def fate(self, sent: Sent) -> Fate:
        """Read what became of an object: from its execution, its ledger files and its letter."""
        ended = self._describe(sent) or {"status": NOT_STARTED}
        records: list[dict[str, Any]] = []
        output = None
        for header, lines in self._ledger(sent):
            records += [{"record": record_id(sent.raw.id, line["position"])} | line for line in lines]
            output = header["output"] or output
        return Fate(
            sent,
            ended["status"],
            records,
            output,
            ended.get("error"),
            _said(ended.get("cause")),
            self._letter(sent, ended),
        )

    def _whereabouts(self, sent: Sent) -> str:
        described = self._describe(sent)
        if described is None:
            return "waiting for its event"
        if described["status"] != "RUNNING":
            return str(described["status"])
        history = self._stepfunctions.get_execution_history(
            executionArn=sent.execution, reverseOrder=True, maxResults=10, includeExecutionData=False
        )
        entered = [event["stateEnteredEventDetails"]["name"] for event in history["events"] if event["type"] in _STATES]
        return f"in {entered[0]}" if entered else "started"

    def _describe(self, sent: Sent) -> dict[str, Any] | None:
        try:
            return dict(self._stepfunctions.describe_execution(executionArn=sent.execution))
        except ClientError as error:
            if error.response["Error"]["Code"] == "ExecutionDoesNotExist":
                return None
            raise

    def _ledger(self, sent: Sent) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Read the ledger files of an object, of the latest attempt of each batch."""
        latest: dict[str, tuple[int, str]] = {}
        for key in self._keys(f"ledger/{sent.raw.id}/"):
            start, attempt = key.rpartition("/")[2].split(".")[:2]
            latest[start] = max(latest.get(start, (-1, "")), (int(attempt), key))
        for _, (_, key) in sorted(latest.items()):
            yield parse_ledger_file(self._s3.get_object(Bucket=self._deployment.audit, Key=key)["Body"].read())

    def _letter(self, sent: Sent, ended: dict[str, Any]) -> str | None:
        if "startDate" not in ended:
            return None
        day = ended["startDate"].astimezone(UTC).strftime("%Y-%m-%d")
        keys = self._keys(f"letters/dt={day}/{sent.raw.id}/")
        return f"s3://{self._deployment.audit}/{keys[-1]}" if keys else None

    def _keys(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._deployment.audit, Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


def _said(cause: str | None) -> str | None:
    """Take the sentence out of the JSON that Lambda makes of an exception."""
    try:
        said = json.loads(cause or "")
    except ValueError:
        return cause
    return said.get("errorMessage", cause) if isinstance(said, dict) else cause
