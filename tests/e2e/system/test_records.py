"""One object, from upload to ledger, on a stack that `cdk deploy` deployed."""

import gzip
import json
from pathlib import Path

import pytest

from tests.support.deployed import BAD, GOOD, Cloud, json_file

DEADLINE_SECONDS = 60


def body(cloud: Cloud, bucket: str, key: str) -> bytes:
    content: bytes = cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


@pytest.mark.aws
def test_a_valid_record_becomes_one_processed_object_and_one_ledger_file(cloud: Cloud, tmp_path: Path) -> None:
    outcome = cloud.put(json_file(tmp_path / "good.json", GOOD))

    object_id = outcome["object"]["id"]
    assert outcome["records"][0]["record"] == f"{object_id}.0"
    delivered = body(cloud, cloud.deployment.processed, outcome["output"]["key"])
    assert json.loads(delivered) == GOOD | {"confidence_band": "high"}
    assert cloud.ledger_keys(object_id) == ["000000000000000.0.jsonl.gz"]
    status = cloud.custody("status", "--json")
    assert cloud.target.name.partition(",")[0] in status.err
    assert status.json["raw"] == cloud.deployment.raw
    assert status.json["executions"]["succeeded"] >= 1


@pytest.mark.aws
def test_both_violations_are_in_the_output_the_cause_and_the_dead_letter(cloud: Cloud, tmp_path: Path) -> None:
    path = json_file(tmp_path / "bad.json", BAD)
    table = cloud.custody("put", path)
    outcome = cloud.put(path, code=3)

    assert table.code == 3, table.err
    for violation in ("/confidence: maximum 1", "/source: enum"):
        assert violation in table.out
        assert violation in outcome["cause"]
    bucket, _, key = outcome["dead_letter"].removeprefix("s3://").partition("/")
    dead_letter = json.loads(body(cloud, bucket, key))
    assert [violation["rule"] for violation in dead_letter["rejected"][0]["violations"]] == ["maximum", "enum"]
    assert dead_letter["code"]["validate"], "the version of the code that rejected it"


@pytest.mark.aws
def test_rejected_records_hold_back_no_others_and_no_digit_is_lost(cloud: Cloud, tmp_path: Path) -> None:
    number = "12345678901234567890.12345678901234567890"
    lines = [json.dumps(GOOD), "{", "", json.dumps(GOOD)[:-1] + f', "n": {number}}}']
    path = tmp_path / "lines.jsonl.gz"
    path.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    outcome = cloud.put(path, code=3)

    assert (outcome["status"], outcome["error"]) == ("FAILED", "RecordsRejected")
    assert [record["outcome"] for record in outcome["records"]] == ["written", "rejected", "written"]
    assert f'"n":{number}'.encode() in body(cloud, cloud.deployment.processed, outcome["output"]["key"])
    assert cloud.custody("verify", outcome["object"]["id"]).code == 0
    assert "at byte 62 of the object" in cloud.custody("dead-letters", "show", outcome["object"]["id"]).out


@pytest.mark.aws
def test_a_duplicate_event_starts_nothing(cloud: Cloud, tmp_path: Path) -> None:
    raw = cloud.put(json_file(tmp_path / "twice.json", GOOD))["object"]
    event = cloud.event(raw["key"], raw["size"], raw["etag"], raw["version_id"])
    start = {"FunctionName": cloud.deployment.start_function, "Payload": json.dumps(event)}
    answers = [json.loads(cloud.client("lambda").invoke(**start)["Payload"].read()) for _ in range(2)]

    assert [answer["counts"]["started"] for answer in answers] == [0, 0], answers
    executions = cloud.client("stepfunctions").list_executions(stateMachineArn=cloud.deployment.pipeline_arn)
    assert [execution["name"] for execution in executions["executions"]].count(raw["id"]) == 1
    assert len(cloud.ledger_keys(raw["id"])) == 1


@pytest.mark.aws
def test_a_key_may_have_spaces_signs_and_letters_of_any_language(cloud: Cloud, tmp_path: Path) -> None:
    key = "mission/Größe + naïve résumé (1).json"
    outcome = cloud.put(json_file(tmp_path / "key.json", GOOD), "--key", key)

    (name,) = cloud.ledger_keys(outcome["object"]["id"])
    ledger_file = gzip.decompress(body(cloud, cloud.deployment.audit, f"ledger/{outcome['object']['id']}/{name}"))
    assert json.loads(ledger_file.splitlines()[0])["object"]["key"] == key
