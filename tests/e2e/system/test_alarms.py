"""Alarms in an AWS account, which alone has the metrics that set them off: run by `make test-aws` only."""

from pathlib import Path

import pytest

from tests.support.breaking import until
from tests.support.deployed import BAD, Cloud, json_file

pytestmark = pytest.mark.aws(only=True)


def wait_for(cloud: Cloud, alarm: str, state: str) -> None:
    name, client = f"custody-{cloud.env}-{alarm}", cloud.client("cloudwatch")

    def has_state() -> bool:
        (description,) = client.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return bool(description["StateValue"] == state)

    until(has_state, 60 * cloud.patience, f"{name} {state}")


def test_a_failed_execution_sets_off_its_alarm_which_resets_itself(cloud: Cloud, tmp_path: Path) -> None:
    wait_for(cloud, "executions-failed", "OK")
    assert cloud.custody("put", json_file(tmp_path / "alarm.json", BAD), "--json").code == 3

    wait_for(cloud, "executions-failed", "ALARM")
    wait_for(cloud, "executions-failed", "OK")


def test_an_event_in_the_start_dlq_sets_off_its_alarm(cloud: Cloud) -> None:
    sqs, url = cloud.client("sqs"), cloud.deployment.start_dlq_url
    sqs.send_message(QueueUrl=url, MessageBody="{}")
    try:
        wait_for(cloud, "start-dlq", "ALARM")
    finally:
        sqs.purge_queue(QueueUrl=url)
