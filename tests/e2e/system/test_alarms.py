"""What only AWS can show: that its metrics set the alarms off. This is for `make test-aws` alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.breaking import until
from tests.support.deployed import Cloud

pytestmark = pytest.mark.aws(only=True)


def alarm(cloud: Cloud, section: str) -> Any:
    name = f"custody-{cloud.env}-{section}"
    (found,) = cloud.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return found


def test_a_failed_execution_sets_its_alarm_off_and_it_goes_out_by_itself(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "alarming.json"
    path.write_text(json.dumps({"mission": "space", "source": "RUMINT", "confidence": 1.7}), encoding="utf-8")
    limit = 60 * cloud.patience
    until(lambda: alarm(cloud, "executions-failed")["StateValue"] == "OK", limit, "no failure is on any more")

    assert cloud.custody("put", path, "--json").code == 3

    until(lambda: alarm(cloud, "executions-failed")["StateValue"] == "ALARM", limit, "the alarm goes off")
    until(lambda: alarm(cloud, "executions-failed")["StateValue"] == "OK", limit, "the alarm goes out")


def test_an_event_that_waits_for_somebody_sets_its_alarm_off(cloud: Cloud) -> None:
    sqs, url = cloud.client("sqs"), cloud.deployment.start_dlq_url
    sqs.send_message(QueueUrl=url, MessageBody="{}")

    try:
        until(lambda: alarm(cloud, "start-dlq")["StateValue"] == "ALARM", 60 * cloud.patience, "the alarm goes off")
    finally:
        sqs.purge_queue(QueueUrl=url)
