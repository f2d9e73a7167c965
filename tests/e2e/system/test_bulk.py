"""Large objects and many objects on a deployed stack: every record has its outcome.

`make test-large` runs the same with a million records and two thousand objects.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import local
from samples.records import lines
from tests.support.breaking import until
from tests.support.deployed import LARGE, Cloud, large_file

RECORDS = int(os.environ.get("CUSTODY_RECORDS", "75000"))
OBJECTS = int(os.environ.get("CUSTODY_OBJECTS", "30"))
MALFORMED = RECORDS // 1000
GIB_IN_KB = 2**20
MIB = 2**20

pytestmark = pytest.mark.timeout(1800)


def peak_memory(cloud: Cloud) -> int:
    """Return the highest peak memory, in KB, of the processes of embedded AWS."""
    instance = local.find(cloud.folder)
    assert instance is not None
    peaks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            environment = (status.parent / "environ").read_bytes()
            if str(cloud.folder).encode() in environment:
                facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                peaks.append(int(facts.get("VmHWM", "0 kB").split()[0]))
        except OSError:
            continue  # the process has ended
    assert peaks, "embedded AWS is running"
    return max(peaks)


def test_every_record_of_a_large_object_has_an_outcome(buffered: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines(RECORDS, malformed=MALFORMED))

    outcome = buffered.put(path, "--timeout", "900", code=3)

    assert outcome["counts"] == {"received": RECORDS, "written": RECORDS - MALFORMED, "rejected": MALFORMED}
    reconciled = buffered.custody("reconcile", "--prefix", "large.jsonl", "--json")
    assert (reconciled.code, reconciled.json["counts"]["rejected"]) == (0, 1), reconciled.out
    verified = buffered.custody("verify", outcome["object"]["id"], "--json")
    assert (verified.code, verified.json["objects"][0]["records"]) == (0, RECORDS), verified.out
    assert peak_memory(buffered) < GIB_IN_KB


@pytest.mark.aws
def test_a_file_above_16_mib_is_uploaded_in_parts_and_written(chunked: Cloud, tmp_path: Path) -> None:
    path = large_file(tmp_path / "parts.jsonl")
    path.write_bytes(path.read_bytes() * 2)
    assert path.stat().st_size > 16 * MIB

    outcome = chunked.put(path, "--timeout", "900")

    assert "-" in outcome["object"]["etag"], "an object of several parts"
    assert outcome["counts"] == {"received": 2 * LARGE, "written": 2 * LARGE, "rejected": 0}
    assert chunked.custody("verify", outcome["object"]["id"]).code == 0


@pytest.mark.aws
def test_a_failed_chunk_holds_back_no_other_and_a_redrive_runs_it_alone(chunked: Cloud, tmp_path: Path) -> None:
    path = large_file(tmp_path / "failing.jsonl")
    second = f"{MIB:015d}"
    with denied(chunked, "write", f"arn:aws:s3:::{chunked.deployment.processed}/*.{second}.jsonl"):
        # Until the policy takes effect, every record is written, and another version is put.
        outcome = until(lambda: without_outcome(chunked, path), 60 * chunked.patience, "a chunk fails")
    object_id, execution = outcome["object"]["id"], outcome["execution"]
    names = set(chunked.ledger_keys(object_id))
    chunks = range(0, path.stat().st_size, MIB)
    assert names == {f"{start:015d}.0.jsonl.gz" for start in chunks if start != MIB} | {"object.0.jsonl.gz"}

    redrives = until(lambda: redriven(chunked, execution), 120 * chunked.patience, "a redrive succeeds")

    later = set(chunked.ledger_keys(object_id)) - names
    assert later >= {f"{second}.{redrives}.jsonl.gz", f"object.{redrives}.jsonl.gz"}
    assert {name.partition(".")[0] for name in later} == {second, "object"}, "only this chunk ran"
    counts = chunked.custody("trace", object_id, "--json").json["counts"]
    assert (counts["received"], counts["written"]) == (LARGE, LARGE)
    shown = chunked.custody("reconcile", "--prefix", "failing.jsonl", "--json")
    assert (shown.code, shown.json["counts"]["failed"]) == (0, 0), shown.out
    assert chunked.custody("verify", object_id).code == 0
    assert object_id not in chunked.custody("dead-letters", "--json").out, "its dead letters are resolved"


def without_outcome(cloud: Cloud, path: Path) -> Any:
    """Put an object; return its outcome if a record has none, otherwise None."""
    ran = cloud.custody("put", path, "--json", "--timeout", "900")
    assert ran.code in {0, 1}, ran.err
    return ran.json["objects"][0] if ran.code else None


def redriven(cloud: Cloud, execution: str) -> int | None:
    """Redrive an execution that failed; return the number of redrives once it has succeeded, otherwise None."""
    client = cloud.client("stepfunctions")
    described = client.describe_execution(executionArn=execution)
    if described["status"] == "FAILED":
        client.redrive_execution(executionArn=execution)
    return int(described["redriveCount"]) if described["status"] == "SUCCEEDED" else None


@contextmanager
def denied(cloud: Cloud, function: str, resource: str) -> Iterator[None]:
    """Deny a function PutObject on a resource for a while."""
    iam = cloud.client("iam")
    role = cloud.client("lambda").get_function_configuration(FunctionName=f"custody-{cloud.env}-{function}")["Role"]
    policy = {"RoleName": role.rpartition("/")[2], "PolicyName": "Broken"}
    statement = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": resource}
    iam.put_role_policy(**policy, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**policy)


@pytest.mark.parametrize("shape", ["cloud", "buffered"])
def test_many_objects_with_duplicate_events_are_each_processed_once(shape: str, request: pytest.FixtureRequest) -> None:
    cloud: Cloud = request.getfixturevalue(shape)
    s3, deployment = cloud.client("s3"), cloud.deployment
    prefix = f"mission/flood-{shape}/"
    record = b'{"mission": "space", "source": "MASINT", "confidence": 0.95}'

    def put(number: int) -> None:
        key = f"{prefix}{number:05d}.json"
        answer = s3.put_object(Bucket=deployment.raw, Key=key, Body=record)
        event = json.dumps(cloud.event(key, len(record), answer["ETag"].strip('"'), answer["VersionId"]))
        if deployment.buffer_url:
            cloud.client("sqs").send_message(QueueUrl=deployment.buffer_url, MessageBody=event)
        else:
            start = deployment.start_function
            cloud.client("lambda").invoke(FunctionName=start, InvocationType="Event", Payload=event)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(OBJECTS)))

    slug = prefix.replace("/", "-")

    def committed() -> int:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=deployment.audit, Prefix=f"ledger/{slug}")
        return sum(page["KeyCount"] for page in pages)

    until(lambda: committed() >= OBJECTS, 60 + OBJECTS / 2, "every object committed")
    reconciled = cloud.custody("reconcile", "--prefix", prefix, "--json").json["counts"]
    assert reconciled == {"written": OBJECTS, "rejected": 0, "failed": 0, "in flight": 0, "missing": 0}
    assert committed() == OBJECTS, "one ledger file per object"
    pages = (
        cloud.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=deployment.pipeline_arn)
    )
    started = [each["name"] for page in pages for each in page["executions"] if each["name"].startswith(slug)]
    assert len(started) == len(set(started)) == OBJECTS, "one execution per object"
