"""Each command of docs/aws-cli.md, run on a deployment that is as its section says: it prints what is shown there."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from functions.shared.model.ids import RawObject
from samples.records import lines
from tests.e2e.documents.test_runbook import GOOD, put, waiting, without_events
from tests.support.breaking import slow, until, without
from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, examples, read, sections

SECTIONS = sections(read("docs/aws-cli.md"))
BEGIN = [*blocks(sections(read("docs/runbook.md"))[""]), *blocks(SECTIONS.pop(""))]
FIRST = "What is deployed"
FIRST_HOUR = (
    "Send an object",
    "What runs, and what failed",
    "One execution",
    "What happened, event by event",
    "What was delivered",
    "What the ledger says",
    "A dead letter",
    "The log of a function",
    "Is it as safe as it should be",
    "Metrics",
)
"""One object leads through these."""

OBJECTS = ("mission/good.json", "mission/lines.jsonl")

ON_AWS_ALONE = "# on AWS alone\n"
ASKING_NOBODY = 'aws() { command aws "$@" --generate-cli-skeleton output; }'
"""The AWS CLI then checks a command against the model of its service, and prints what an answer would look like."""

pytestmark = pytest.mark.timeout(600)
begun: dict[Path, list[str]] = {}
"""What a shell has that knows the deployment, which is asked only once."""


def reader(cloud: Cloud, **answers: str) -> Shell:
    """Open the shell of one who has followed the page up to what is deployed."""
    if cloud.folder not in begun:
        shell = Shell(cloud, {}, list(BEGIN))
        follow(shell, FIRST)
        begun[cloud.folder] = shell.before
    return Shell(cloud, {name.replace("_", " "): answer for name, answer in answers.items()}, list(begun[cloud.folder]))


def follow(shell: Shell, section: str, then: Callable[[], Any] = lambda: None) -> None:
    """Run the blocks of a section, `then` something after each; those for AWS alone are only checked."""
    for block, shown in examples(SECTIONS[section]):
        if block.startswith(ON_AWS_ALONE):
            shell.run(f"{ASKING_NOBODY}\n{block}")
        else:
            shell.show(block, shown)
        then()


def ended(cloud: Cloud, *keys: str) -> None:
    """Wait until the execution of the latest version of each key has ended, of those that are there."""
    s3, client, deployment = cloud.client("s3"), cloud.client("stepfunctions"), cloud.deployment
    for key in (key for key in keys if key in cloud.keys(deployment.raw, key)):
        head = s3.head_object(Bucket=deployment.raw, Key=key)
        raw = RawObject(deployment.raw, key, head["VersionId"], head["ContentLength"], head["ETag"].strip('"'))
        execution = f"{deployment.pipeline_arn.replace('stateMachine', 'execution')}:{raw.id}"
        until(partial(_has_ended, client, execution), 60, f"the end of {execution}")


def _has_ended(client: Any, execution: str) -> bool:
    return status(client, execution) not in {None, "RUNNING"}


def status(client: Any, execution: str) -> str | None:
    """Tell how an execution is; None if it is not there."""
    try:
        return str(client.describe_execution(executionArn=execution)["status"])
    except client.exceptions.ExecutionDoesNotExist:
        return None


def test_the_first_hour(cloud: Cloud) -> None:
    shell = reader(cloud)
    sent, *looked_at = FIRST_HOUR
    follow(shell, sent, lambda: ended(cloud, *OBJECTS))
    for section in looked_at:
        follow(shell, section)


def test_redrive(cloud: Cloud, tmp_path: Path) -> None:
    client = cloud.client("stepfunctions")
    with ExitStack() as broken:
        broken.enter_context(without(cloud, "write", "s3:PutObject"))
        execution = put(cloud, tmp_path, "refused", GOOD)["execution"]
        until(lambda: status(client, execution) == "FAILED", 60, "the failure")
        shell = reader(cloud, execution=execution)
    follow(shell, "Redrive", lambda: until(lambda: status(client, execution) != "RUNNING", 60, "the end"))


def test_stop(cloud: Cloud, tmp_path: Path) -> None:
    client = cloud.client("stepfunctions")
    with slow(cloud, seconds=60, timeout=600):
        execution = put(cloud, tmp_path, "stopped", GOOD)["execution"]
        until(lambda: status(client, execution) == "RUNNING", 60, "the start")
        follow(reader(cloud, running_execution=execution), "Stop an execution")


def test_start_by_hand(cloud: Cloud, tmp_path: Path) -> None:
    with without_events(cloud):
        sent = put(cloud, tmp_path, "lost", GOOD)
    version = cloud.client("s3").head_object(Bucket=cloud.deployment.raw, Key="lost.json")["VersionId"]
    shell = reader(cloud, key_of_the_raw_object="lost.json", its_raw_version=version, its_object_id=sent["id"])
    follow(shell, "Start an execution by hand", lambda: ended(cloud, "lost.json"))
    # `custody reconcile` knows it as the one that the event would have started.
    reconciled = cloud.custody("reconcile", "--prefix", "lost.json", "--json")
    assert (reconciled.code, reconciled.json["counts"]["written"]) == (0, 1), reconciled.out


def test_start_dlq(cloud: Cloud, tmp_path: Path) -> None:
    url = cloud.deployment.start_dlq_url
    with without(cloud, "start", "states:StartExecution"):
        put(cloud, tmp_path, "not-started", GOOD)
        until(lambda: waiting(cloud, url), 60, "the event in the queue")
        follow(reader(cloud), "Objects that could not be started")
    assert cloud.custody("redrive", "--events").code == 0
    assert waiting(cloud, url) == 0


@pytest.fixture
def alarm(cloud: Cloud) -> Iterator[None]:
    """Put the alarm that is set off back afterwards."""
    client, name = cloud.client("cloudwatch"), "custody-dev-executions-failed"
    (was,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    yield
    client.set_alarm_state(AlarmName=name, StateValue=was["StateValue"], StateReason=was["StateReason"])


@pytest.mark.usefixtures("alarm")
def test_alarms(cloud: Cloud) -> None:
    follow(reader(cloud), "Alarms")


def test_a_large_object(buffered: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    path.write_text("".join(lines(75_000, bad=1)), encoding="utf-8")
    (fate,) = buffered.custody("put", path, "--json").json["objects"]
    (rejected,) = fate["records"]
    shell = reader(buffered, execution_of_a_large_object=fate["execution"], record_of_a_large_object=rejected["record"])
    follow(shell, "A large object")


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("aws cloudwatch get-metric-data --start-time 0", "--metric-data-queries"),
        ('aws cloudwatch get-metric-data --start-time 0 --end-time 1 --metric-data-queries \'[{"ID":"a"}]\'', "Id"),
        ("aws s3api put-object --bucket b --key k --encryption AES256", "--encryption"),
    ],
)
def test_what_is_checked_alone_can_be_wrong(cloud: Cloud, command: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        Shell(cloud, {}, list(BEGIN)).run(f"{ASKING_NOBODY}\n{command}")


def test_no_section_is_left_out() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [title for title in SECTIONS if f'"{title}"' not in source] == []
