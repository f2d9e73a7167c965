"""One record, from upload to ledger, on a stack that `cdk deploy` really deployed."""

import gzip
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from custody.deployment.target import ROOT
from tests.support.breaking import until, without
from tests.support.deployed import CUSTODY, Cloud, clean_environment, custody

GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
BAD = {"mission": "space", "source": "RUMINT", "confidence": 1.7}
DEADLINE_SECONDS = 60


def file(folder: Path, name: str, *records: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(records[0] if len(records) == 1 else records), encoding="utf-8")
    return path


@pytest.mark.aws
def test_a_good_record_becomes_one_processed_object_and_one_ledger_file(cloud: Cloud, tmp_path: Path) -> None:
    ran = cloud.custody("put", file(tmp_path, "good.json", GOOD), "--json")

    assert ran.code == 0, ran.err
    (fate,) = ran.json["objects"]
    object_id = fate["object"]["id"]
    assert cloud.target.name.partition(",")[0] in ran.err
    assert fate["records"][0]["record"] == f"{object_id}.0"
    body = cloud.client("s3").get_object(Bucket=cloud.deployment.processed, Key=fate["output"]["key"])["Body"].read()
    assert json.loads(body) == GOOD | {"confidence_band": "high"}
    assert cloud.keys(cloud.deployment.audit, f"ledger/{object_id}/") == [
        f"ledger/{object_id}/000000000000000.0.jsonl.gz"
    ]


@pytest.mark.aws
def test_two_violations_are_in_the_output_the_cause_and_the_dead_letter(cloud: Cloud, tmp_path: Path) -> None:
    path = file(tmp_path, "bad.json", BAD)
    shown = cloud.custody("put", path)
    assert shown.code == 3, shown.err
    assert "/confidence: maximum 1" in shown.out
    assert "/source: enum" in shown.out

    (fate,) = cloud.custody("put", path, "--json").json["objects"]
    assert "/confidence: maximum 1" in fate["cause"]
    assert "/source: enum" in fate["cause"]
    bucket, _, key = fate["dead_letter"].removeprefix("s3://").partition("/")
    dead_letter = json.loads(cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    assert [violation["rule"] for violation in dead_letter["rejected"][0]["violations"]] == ["maximum", "enum"]
    assert dead_letter["code"]["validate"], "the dead letter says which code rejected"


@pytest.mark.aws
def test_a_batch_with_good_and_bad_records_delivers_the_good_ones(cloud: Cloud, tmp_path: Path) -> None:
    ran = cloud.custody("put", file(tmp_path, "mixed.json", GOOD, BAD), "--json")

    assert ran.code == 3, ran.err
    (fate,) = ran.json["objects"]
    assert (fate["status"], fate["error"]) == ("FAILED", "RecordsRejected")
    assert [record["outcome"] for record in fate["records"]] == ["written", "rejected"]


@pytest.mark.aws
def test_gzipped_json_lines_lose_no_line_and_no_digit(cloud: Cloud, tmp_path: Path) -> None:
    number = "12345678901234567890.12345678901234567890"
    lines = [json.dumps(GOOD), "{", "", json.dumps(GOOD)[:-1] + f', "n": {number}}}']
    path = tmp_path / "lines.jsonl.gz"
    path.write_bytes(gzip.compress("\r\n".join(lines).encode()))
    ran = cloud.custody("put", path, "--json")

    assert ran.code == 3, ran.err
    (fate,) = ran.json["objects"]
    assert [record["outcome"] for record in fate["records"]] == ["written", "rejected", "written"]
    body = cloud.client("s3").get_object(Bucket=cloud.deployment.processed, Key=fate["output"]["key"])["Body"].read()
    assert f'"n":{number}'.encode() in body
    assert cloud.custody("verify", fate["object"]["id"]).code == 0
    shown = cloud.custody("dead-letters", "show", fate["object"]["id"])
    assert "at byte 62 of the object" in shown.out


@pytest.mark.aws
def test_the_same_event_twice_is_one_execution_and_one_ledger_file(cloud: Cloud, tmp_path: Path) -> None:
    (fate,) = cloud.custody("put", file(tmp_path, "twice.json", GOOD), "--json").json["objects"]
    raw = fate["object"]
    s3_object = {"key": raw["key"], "size": raw["size"], "eTag": raw["etag"], "versionId": raw["version_id"]}
    event = {"Records": [{"s3": {"bucket": {"name": raw["bucket"]}, "object": s3_object}}]}
    answers = [
        json.loads(
            cloud.client("lambda")
            .invoke(FunctionName=cloud.deployment.start_function, Payload=json.dumps(event))["Payload"]
            .read()
        )
        for _ in range(2)
    ]

    assert [answer["counts"]["started"] for answer in answers] == [0, 0], answers
    executions = cloud.client("stepfunctions").list_executions(stateMachineArn=cloud.deployment.pipeline_arn)
    assert [one["name"] for one in executions["executions"]].count(raw["id"]) == 1
    assert len(cloud.keys(cloud.deployment.audit, f"ledger/{raw['id']}/")) == 1


@pytest.mark.aws
def test_a_key_with_spaces_plus_and_dead_letters_comes_through(cloud: Cloud, tmp_path: Path) -> None:
    key = "mission/Größe + naïve résumé (1).json"
    ran = cloud.custody("put", file(tmp_path, "odd.json", GOOD), "--key", key, "--json")

    assert ran.code == 0, ran.err
    (fate,) = ran.json["objects"]
    ledger_key = f"ledger/{fate['object']['id']}/000000000000000.0.jsonl.gz"
    committed = cloud.client("s3").get_object(Bucket=cloud.deployment.audit, Key=ledger_key)["Body"].read()
    assert json.loads(gzip.decompress(committed).splitlines()[0])["object"]["key"] == key


@pytest.mark.aws
def test_an_object_of_no_known_dataset_has_no_outcome_but_a_dead_letter(cloud: Cloud, tmp_path: Path) -> None:
    ran = cloud.custody("put", file(tmp_path, "a.json", GOOD), "--key", "unknown/a.json")

    assert ran.code == 1
    assert "UnknownDataset" in ran.out
    assert "dead-letters/dt=" in ran.out


@pytest.mark.aws
def test_status_shows_the_buckets_and_what_ran(cloud: Cloud, tmp_path: Path) -> None:
    cloud.custody("put", file(tmp_path, "good.json", GOOD))
    ran = cloud.custody("status", "--json")

    assert ran.code == 0, ran.err
    assert ran.json["raw"] == cloud.deployment.raw
    assert ran.json["executions"]["succeeded"] >= 1


def test_what_start_cannot_start_lies_in_the_start_dlq_queue(cloud: Cloud) -> None:
    s3_object = {"key": "mission/a.json", "size": 1, "eTag": "e", "versionId": "null"}
    event = {"Records": [{"s3": {"bucket": {"name": cloud.deployment.raw}, "object": s3_object}}]}
    cloud.client("lambda").invoke(
        FunctionName=cloud.deployment.start_function, InvocationType="Event", Payload=json.dumps(event)
    )

    sqs = cloud.client("sqs")
    deadline = time.monotonic() + DEADLINE_SECONDS
    messages: list[Any] = []
    while not messages and time.monotonic() < deadline:
        messages = sqs.receive_message(QueueUrl=cloud.deployment.start_dlq_url, WaitTimeSeconds=1).get("Messages", [])
    assert messages, "the event came to the queue when the retries of Lambda were used up"
    body = json.loads(messages[0]["Body"])
    assert body["requestPayload"] == event
    assert body["responsePayload"]["errorType"] == "MessageRefused"
    sqs.delete_message(QueueUrl=cloud.deployment.start_dlq_url, ReceiptHandle=messages[0]["ReceiptHandle"])


def test_a_permission_that_is_missing_is_named_and_nothing_is_claimed(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "write", "s3:PutObject"):
        ran = cloud.custody("put", file(tmp_path, "refused.json", GOOD), "--json")

    assert ran.code == 1, ran.out
    (fate,) = ran.json["objects"]
    assert (fate["status"], fate["error"]) == ("FAILED", "AccessRefused"), fate
    assert ".Write.json" in fate["dead_letter"]
    assert cloud.keys(cloud.deployment.audit, f"ledger/{fate['object']['id']}/") == []


def test_no_follow_ends_at_once_with_the_object_id(cloud: Cloud, tmp_path: Path) -> None:
    ran = cloud.custody("put", file(tmp_path, "later.json", GOOD), "--no-wait", "--json")
    assert ran.code == 0
    (sent,) = ran.json["objects"]
    assert sent["object"]["id"].startswith("later-json-")


def test_a_second_up_is_quick_for_it_deploys_nothing(cloud: Cloud) -> None:
    ran = cloud.custody("up")
    assert ran.code == 0
    assert "cdk deploy" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["put", "no-such-file.json"], "Not a file: no-such-file.json"),
        (["put", "README.md", "LICENSE", "--key", "a"], "--key names one object"),
        (["put"], "Missing argument"),
        (["up", "-c", "env=other"], "name the environment by --env"),
        (["up", "-c", "chunk_size=1"], "Setting 'chunk_size' is not known"),
        (["put", "README.md", "--key", ""], "--key is empty"),
        (["dead-letters", "--since", "99999999999d"], "longer than there are years"),
        (["reconcile", "--grace", "999999999d"], "longer than there are years"),
        (["dead-letters", "--until", "0001-01-01T00:00+14:00"], "is not a day"),
        (["redrive", "--open", "--rate", "1e-300"], "is not a number of at least 0.01"),
        (["dead-letters", "show", "caf\udce9"], "not UTF-8"),
    ],
)
def test_wrong_usage_is_a_line_and_exit_code_2(cloud: Cloud, arguments: list[str], said: str) -> None:
    ran = cloud.custody(*(str(ROOT / each) if each in {"README.md", "LICENSE"} else each for each in arguments))
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["put", str(ROOT / "README.md")],
        ["status"],
        ["dead-letters"],
        ["dead-letters", "show", "ID"],
        ["dead-letters", "discard", "ID", "--reason", "none"],
        ["verify"],
        ["reconcile"],
        ["redrive", "--open", "--dry-run"],
    ],
    ids=" ".join,
)
def test_without_embedded_aws_nothing_is_sent_to_aws_unless_told(tmp_path: Path, arguments: list[str]) -> None:
    ran = custody(tmp_path, *arguments)
    assert ran.code == 2
    assert "--aws or --profile NAME" in ran.err


def test_an_environment_that_is_not_there_says_how_to_deploy_it(cloud: Cloud) -> None:
    ran = cloud.custody("status", "--env", "nope")
    assert ran.code == 1
    assert "Run `custody up --env nope`" in ran.err


def test_a_key_that_would_move_the_cursor_is_shown_with_signs(cloud: Cloud, tmp_path: Path) -> None:
    ran = cloud.custody("put", file(tmp_path, "odd.json", GOOD), "--key", "a\x7f[31m.json")
    assert ran.code == 0, ran.err
    assert "a␡[31m.json" in ran.out


def test_a_put_that_is_not_waited_for_says_where_to_look(cloud: Cloud, tmp_path: Path) -> None:
    with without(cloud, "start", "states:StartExecution"):
        ran = cloud.custody("put", file(tmp_path, "patient.json", GOOD), "--timeout", "1")
        assert ran.code == 1
        assert "custody executions" in ran.err
        assert "custody trace patient-json-" in ran.err
        assert "1 execution has not started" in ran.err
        until(lambda: cloud.custody("status", "--json").json["start-dlq"], DEADLINE_SECONDS, "its event waits")
    assert cloud.custody("redrive", "--events").code == 0


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["", "json"])
@pytest.mark.parametrize(
    "command", ["dead-letters --since 20s", "status", "reconcile --prefix unread/", "verify --since 20s"]
)
def test_output_that_cannot_be_written_is_a_line_and_a_code(cloud: Cloud, command: str, as_json: list[str]) -> None:
    # Each has something to print of this, and little else.
    cloud.custody("put", ROOT / "README.md", "--key", "unread/a.json")
    arguments = [str(CUSTODY), *command.split(), *as_json]
    environment = clean_environment() | {"CUSTODY_FOLDER": str(cloud.folder)}
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ran = subprocess.run(  # noqa: S603 - our own command
            arguments, env=environment, stdout=full, stderr=PIPE, text=True, check=False
        )
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr

    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ran = subprocess.run(  # noqa: S603 - our own command
            arguments, env=environment, stdout=closed, stderr=PIPE, text=True, check=False
        )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_interrupted_ends_without_a_traceback(
    cloud: Cloud, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    environment = clean_environment() | {"CUSTODY_FOLDER": str(cloud.folder)}
    with without(cloud, "start", "states:StartExecution"):
        path = file(tmp_path, "interrupted.json", GOOD)
        with subprocess.Popen(  # noqa: S603 - our own command
            [CUSTODY, "put", path], env=environment, stdout=PIPE, stderr=PIPE, text=True
        ) as running:
            assert running.stderr is not None
            assert running.stderr.readline().startswith("target:"), "it is at work"
            running.send_signal(number)
            out, err = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == code, out + err
    assert "Traceback" not in err
