"""The buckets of a deployment, in memory."""

import gzip
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from moto.core.models import DEFAULT_ACCOUNT_ID as ACCOUNT_ID
from moto.s3.models import s3_backends

from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ARRIVED = datetime(2026, 11, 23, 8, 59, tzinfo=UTC)
STARTED_AT = "2026-11-23T09:00:00.000Z"
ENTERED_AT = "2026-11-23T09:00:01.000Z"
EXECUTION_ARN = "arn:aws:states:us-east-1:123456789012:execution:pipeline:the-execution"


@cache
def session() -> boto3.Session:
    """Create one session for all tests: it caches the service models, which take long to load."""
    return boto3.Session()


@cache
def _s3() -> "S3Client":
    """Create one client for all tests: creating it takes longer than most of them."""
    return session().client("s3")


@dataclass(frozen=True)
class Buckets:
    """The buckets `raw`, `staging`, `processed` and `audit`."""

    s3: "S3Client"

    @classmethod
    def create(cls) -> "Buckets":
        """Create the buckets, versioned; not by API calls, which would take longer than most tests."""
        for name in ("raw", "staging", "processed", "audit"):
            s3_backends[ACCOUNT_ID]["aws"].create_bucket(name, "us-east-1").versioning_status = "Enabled"
        return cls(_s3())

    def empty(self) -> None:
        """Forget all objects. Of moto's own, for by the API it takes a call an object, and moto is slow with many."""
        for bucket in s3_backends[ACCOUNT_ID]["aws"].buckets.values():
            bucket.keys = type(bucket.keys)()

    def upload(self, key: str, body: bytes) -> Batch:
        """Put an object into the raw bucket; return the batch that `start` would make of it."""
        answer = self.s3.put_object(Bucket="raw", Key=key, Body=body)
        # Objects arrive before the executions start, and the versions of a key one after another.
        for place, version in enumerate(s3_backends[ACCOUNT_ID]["aws"].buckets["raw"].keys.getlist(key)):
            version.last_modified = (ARRIVED + timedelta(milliseconds=place)).replace(tzinfo=None)
        return Batch(RawObject("raw", key, answer["VersionId"], len(body), answer["ETag"].strip('"')))

    def age(self, key: str, by: timedelta) -> None:
        """Let all versions of a key have come into the raw bucket earlier, which S3's own API cannot say."""
        for version in s3_backends[ACCOUNT_ID]["aws"].buckets["raw"].keys.getlist(key):
            version.last_modified -= by

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """List the keys of a bucket, or those that begin with a prefix."""
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]

    def put(self, bucket: str, key: str, body: bytes) -> str:
        """Put an object; return its version, if the bucket has versions."""
        return self.s3.put_object(Bucket=bucket, Key=key, Body=body).get("VersionId", "")

    def hide(self, bucket: str, key: str) -> None:
        """Put a delete marker."""
        self.s3.delete_object(Bucket=bucket, Key=key)

    def forget(self, bucket: str, prefix: str = "") -> None:
        """Delete every version of the objects of a bucket, or of those that begin with a prefix."""
        for version in self.s3.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"]:
            self.s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])

    def body(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def the_only(self, bucket: str, prefix: str = "") -> bytes:
        """Read the only object under a prefix; fail if there is none or another."""
        keys = [key for key in self.keys(bucket) if key.startswith(prefix)]
        assert len(keys) == 1, f"expected one object under {prefix!r} in {bucket}, found {keys}"
        return self.body(bucket, keys[0])

    def ledger(self) -> list[Any]:
        """Read the only ledger file: its header, then a line a record."""
        header, lines = parse_ledger_file(self.the_only("audit", "ledger/"))
        return [header, *lines]

    def dead_letter(self) -> Any:
        """Read the only dead letter."""
        return json.loads(self.the_only("audit", "dead-letters/"))


def parse_ledger_file(body: bytes) -> tuple[Any, list[Any]]:
    """Parse a ledger file: its header, and a line a record."""
    header, *lines = map(json.loads, gzip.decompress(body).splitlines())
    return header, lines


def called_with(  # noqa: PLR0913 - one parameter a fact
    message: dict[str, Any],
    state: str,
    *,
    redrives: int = 0,
    arn: str = EXECUTION_ARN,
    attempt: int = 0,
    entered: str = ENTERED_AT,
) -> dict[str, Any]:
    """Return the payload with which the state machine calls a step; `attempt` is that of the execution's input."""
    execution = {"Id": arn, "Name": arn.rpartition(":")[2], "StartTime": STARTED_AT, "Input": {"attempt": attempt}}
    return {
        "batch": message,
        **({"resumable": True} if state == "DeadLetter" else {}),
        "execution": execution | {"RedriveCount": redrives},
        "state": {"Name": state, "EnteredTime": entered, "RetryCount": 0},
    }
