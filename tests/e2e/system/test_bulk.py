"""Large objects and many objects on a deployed stack: what becomes of every record, however an object is cut.

`make test-large` runs the same with a million records and two thousand objects.
"""

import gzip
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import local
from samples.records import lines as sample_lines
from tests.support.breaking import until
from tests.support.deployed import Cloud

RECORDS = int(os.environ.get("CUSTODY_RECORDS", "75000"))
OBJECTS = int(os.environ.get("CUSTODY_OBJECTS", "60"))
MALFORMED = RECORDS // 1000
GIB_IN_KB = 2**20
MIB = 2**20

pytestmark = pytest.mark.timeout(1800)


def sample(path: Path, *, bad: int = 0, malformed: int = 0, records: int = RECORDS) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(sample_lines(records, bad, malformed))
    return path


def ledger(cloud: Cloud, object_id: str) -> dict[str, list[Any]]:
    """Give the ledger files of an object by their names: the header, then a line a record."""
    found = {}
    for key in cloud.keys(cloud.deployment.audit, f"ledger/{object_id}/"):
        body = cloud.client("s3").get_object(Bucket=cloud.deployment.audit, Key=key)["Body"].read()
        found[key.rpartition("/")[2]] = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    return found


def told(cloud: Cloud, object_id: str) -> list[Any]:
    """Give what became of each record, with the hash of what was delivered, and all delivered bytes, in order."""
    lines: list[Any] = []
    delivered = b""
    for name, (header, *found) in sorted(ledger(cloud, object_id).items()):
        if name.startswith("object."):
            continue
        for line in found:
            line["output"] = line["output"]["sha256"] if "output" in line else None
            lines.append(line)
        where = header["output"]
        delivered += cloud.client("s3").get_object(Bucket=where["bucket"], Key=where["key"])["Body"].read()
    return [lines, delivered]


def most_memory(cloud: Cloud) -> int:
    """Give the most memory, in KB, that any process of embedded AWS ever held, of those that are there."""
    instance = local.find(cloud.folder)
    assert instance is not None
    held = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            environment = (status.parent / "environ").read_bytes()
            if str(cloud.folder).encode() in environment:
                facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                held.append(int(facts.get("VmHWM", "0 kB").split()[0]))
        except OSError:
            continue  # it has ended
    assert held, "embedded AWS is up, so there are processes"
    return max(held)


def test_of_a_large_object_each_record_is_accounted_for(buffered: Cloud, tmp_path: Path) -> None:
    path = sample(tmp_path / "accounted.jsonl", malformed=MALFORMED)

    ran = buffered.custody("put", path, "--json", "--timeout", "900")

    assert ran.code == 3, ran.err
    (fate,) = ran.json["objects"]
    assert fate["counts"] == {"received": RECORDS, "written": RECORDS - MALFORMED, "rejected": MALFORMED}
    reconciled = buffered.custody("reconcile", "--prefix", "accounted.jsonl", "--json")
    assert (reconciled.code, reconciled.json["counts"]["rejected"]) == (0, 1), reconciled.out
    verified = buffered.custody("verify", fate["object"]["id"], "--json")
    assert (verified.code, verified.json["objects"][0]["records"]) == (0, RECORDS), verified.out
    assert most_memory(buffered) < GIB_IN_KB


def test_however_a_deployment_cuts_an_object_the_same_is_told_and_delivered(
    tmp_path: Path, buffered: Cloud, cloud: Cloud
) -> None:
    records = min(RECORDS, 200_000)
    path = sample(tmp_path / "cut.jsonl", bad=7, malformed=5, records=records)
    with cutting(buffered, 7 * MIB):
        in_seven = sent(buffered, path, 7 * MIB)
    in_one = sent(buffered, path, 1 * MIB)
    whole = sent(cloud, path, 64 * MIB)

    assert len(in_one[0]) == records
    assert in_seven == in_one, "positions, outcomes and output records do not depend on where it is cut"
    assert whole == in_one


def sent(cloud: Cloud, path: Path, chunk_bytes: int) -> list[Any]:
    """Put an object into a deployment that cuts so; give what is told of it, and what was delivered."""
    ran = cloud.custody("put", path, "--json", "--timeout", "600")
    assert ran.code == 3, ran.err
    (fate,) = ran.json["objects"]
    chunks = [name for name in ledger(cloud, fate["object"]["id"]) if not name.startswith("object.")]
    assert len(chunks) == -(-path.stat().st_size // chunk_bytes), "it is cut as the setting says"
    return told(cloud, fate["object"]["id"])


@contextmanager
def cutting(cloud: Cloud, chunk_bytes: int) -> Iterator[None]:
    """Let the start function cut objects into chunks of another size, and as before afterwards."""
    client, start = cloud.client("lambda"), cloud.deployment.start_function
    deployed = client.get_function_configuration(FunctionName=start)["Environment"]["Variables"]
    changed = deployed | {"CHUNK_BYTES": str(chunk_bytes)}
    client.update_function_configuration(FunctionName=start, Environment={"Variables": changed})
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=start, Environment={"Variables": deployed})


@pytest.mark.aws
def test_a_chunk_that_fails_holds_no_other_back_and_a_redrive_runs_it_alone(chunked: Cloud, tmp_path: Path) -> None:
    path = sample(tmp_path / "failing.jsonl", records=75_000)
    second = f"{MIB:015d}"
    with denied(chunked, "write", f"arn:aws:s3:::{chunked.deployment.processed}/*.{second}.jsonl"):
        # A policy may take a while to hold: then each record was written, and another version is sent.
        fate = until(lambda: without_outcome(chunked, path), 60 * chunked.patience, "a chunk fails")
    object_id, execution = fate["object"]["id"], fate["execution"]
    names = set(ledger(chunked, object_id))
    chunks = range(0, path.stat().st_size, MIB)
    assert names == {f"{start:015d}.0.jsonl.gz" for start in chunks if start != MIB} | {"object.0.jsonl.gz"}

    redrives = until(lambda: redriven(chunked, execution), 120 * chunked.patience, "a redrive succeeds")

    assert set(ledger(chunked, object_id)) - names >= {f"{second}.{redrives}.jsonl.gz", f"object.{redrives}.jsonl.gz"}
    assert {name.partition(".")[0] for name in set(ledger(chunked, object_id)) - names} == {second, "object"}, (
        "only that chunk ran"
    )
    lines, delivered = told(chunked, object_id)
    assert len(lines) == delivered.count(b"\n") == 75_000
    shown = chunked.custody("reconcile", "--prefix", "failing.jsonl", "--json")
    assert (shown.code, shown.json["counts"]["failed"]) == (0, 0), shown.out
    assert chunked.custody("verify", object_id).code == 0
    assert object_id not in chunked.custody("dead-letters", "--json").out, "its dead letters are closed"


def without_outcome(cloud: Cloud, path: Path) -> Any:
    """Put an object; give what became of it if not every record has an outcome, else None."""
    ran = cloud.custody("put", path, "--json", "--timeout", "900")
    assert ran.code in {0, 1}, ran.err
    return ran.json["objects"][0] if ran.code else None


def redriven(cloud: Cloud, execution: str) -> int | None:
    """Have an execution redriven by the plain API until it succeeds; give how often that was, or None."""
    client = cloud.client("stepfunctions")
    found = client.describe_execution(executionArn=execution)
    if found["status"] == "FAILED":
        client.redrive_execution(executionArn=execution)
    return int(found["redriveCount"]) if found["status"] == "SUCCEEDED" else None


@contextmanager
def denied(cloud: Cloud, function: str, resource: str) -> Iterator[None]:
    """Deny a function to put objects at a place, and no longer afterwards."""
    iam = cloud.client("iam")
    role = cloud.client("lambda").get_function_configuration(FunctionName=f"custody-{cloud.env}-{function}")["Role"]
    where = {"RoleName": role.rpartition("/")[2], "PolicyName": "Broken"}
    statement = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": resource}
    iam.put_role_policy(**where, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**where)


@pytest.mark.parametrize("shape", ["cloud", "buffered"])
def test_many_objects_at_once_with_each_event_twice_are_each_done_once(
    shape: str, request: pytest.FixtureRequest
) -> None:
    cloud: Cloud = request.getfixturevalue(shape)
    s3, where = cloud.client("s3"), cloud.deployment
    prefix = f"mission/flood-{shape}/"
    record = b'{"mission": "space", "source": "MASINT", "confidence": 0.95}'

    def put(number: int) -> None:
        key = f"{prefix}{number:05d}.json"
        answer = s3.put_object(Bucket=where.raw, Key=key, Body=record)
        found = {"key": key, "versionId": answer["VersionId"], "size": len(record), "eTag": answer["ETag"].strip('"')}
        event = json.dumps({"Records": [{"s3": {"bucket": {"name": where.raw}, "object": found}}]})
        if where.buffer_url:
            cloud.client("sqs").send_message(QueueUrl=where.buffer_url, MessageBody=event)
        else:
            start = where.start_function
            cloud.client("lambda").invoke(FunctionName=start, InvocationType="Event", Payload=event)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(OBJECTS)))

    def reconciled() -> Any:
        return cloud.custody("reconcile", "--prefix", prefix, "--json").json["counts"]

    until(lambda: reconciled()["written"] == OBJECTS, 60 + OBJECTS / 2, "each object is written")
    assert reconciled() == {"written": OBJECTS, "rejected": 0, "failed": 0, "in flight": 0, "missing": 0}
    slug = prefix.replace("/", "-")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=where.audit, Prefix=f"ledger/{slug}")
    assert sum(page["KeyCount"] for page in pages) == OBJECTS, "a ledger file an object"
    pages = cloud.client("stepfunctions").get_paginator("list_executions").paginate(stateMachineArn=where.pipeline_arn)
    started = [each["name"] for page in pages for each in page["executions"] if each["name"].startswith(slug)]
    assert len(started) == len(set(started)) == OBJECTS, "an execution an object"
