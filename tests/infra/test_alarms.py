"""The alarms: one failure sets them off, and somebody hears of it."""

from typing import Any

import pytest

from infra.app import ROOT
from tests.infra.deployment import ACCOUNT, REGION, Deployment, listed

EXPECTED = {
    "executions-failed": ("AWS/States", "ExecutionsFailed", "Sum"),
    "executions-timed-out": ("AWS/States", "ExecutionsTimedOut", "Sum"),
    "executions-aborted": ("AWS/States", "ExecutionsAborted", "Sum"),
    "undelivered": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"),
    "events-lost": ("AWS/Lambda", "DestinationDeliveryFailures", "Sum"),
    "unwritten": ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum"),
}


def alarm(deployment: Deployment, name: str) -> dict[str, Any]:
    return deployment.of_type("AWS::CloudWatch::Alarm")[f"custody-{deployment.env}-{name}"]


def test_these_are_the_alarms(deployment: Deployment) -> None:
    assert set(deployment.of_type("AWS::CloudWatch::Alarm")) == {
        f"custody-{deployment.env}-{name}" for name in EXPECTED
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_a_single_failure_within_a_minute_sets_it_off(deployment: Deployment, name: str) -> None:
    found = alarm(deployment, name)

    assert (found["Namespace"], found["MetricName"], found["Statistic"]) == EXPECTED[name]
    assert (found["ComparisonOperator"], found["Threshold"]) == ("GreaterThanOrEqualToThreshold", 1)
    assert (found["Period"], found["EvaluationPeriods"]) == (60, 1)
    assert found.get("DatapointsToAlarm", 1) == 1
    assert found["TreatMissingData"] == "notBreaching"


@pytest.mark.parametrize("name", EXPECTED)
def test_it_watches_something_of_this_stack(deployment: Deployment, name: str) -> None:
    (dimension,) = alarm(deployment, name)["Dimensions"]

    assert (dimension["Name"], dimension["Value"]) in {
        ("StateMachineArn", f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{deployment.env}-pipeline"),
        ("QueueName", f"custody-{deployment.env}-undelivered"),
        ("QueueName", f"custody-{deployment.env}-unwritten"),
        ("FunctionName", f"custody-{deployment.env}-start"),
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_it_tells_the_topic_when_it_goes_off_and_when_it_ends(deployment: Deployment, name: str) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:custody-{deployment.env}-alarms"

    assert alarm(deployment, name)["AlarmActions"] == [topic]
    assert alarm(deployment, name)["OKActions"] == [topic]


@pytest.mark.parametrize("name", EXPECTED)
def test_it_says_where_to_read_on(deployment: Deployment, name: str) -> None:
    assert alarm(deployment, name)["AlarmDescription"].endswith(f"What to do: docs/runbook.md#{name}.")


def test_alarms_may_publish_to_the_topic(deployment: Deployment) -> None:
    (statement,) = (found for found in deployment.policy("AWS::SNS::TopicPolicy") if found["Effect"] == "Allow")

    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:custody-{deployment.env}-*"},
    }


def test_alarms_may_use_the_key_of_the_topic(deployment: Deployment) -> None:
    (topic,) = deployment.of_type("AWS::SNS::Topic").values()
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    principal = {"Service": "cloudwatch.amazonaws.com"}
    (statement,) = (found for found in key["KeyPolicy"]["Statement"] if found["Principal"] == principal)

    assert topic["KmsMasterKeyId"] == deployment.key
    assert set(listed(statement["Action"])) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_nobody_is_written_to_unless_named(deployment: Deployment) -> None:
    assert deployment.of_type("AWS::SNS::Subscription") == {}


def test_the_runbook_has_a_section_for_each_alarm() -> None:
    runbook = ROOT / "docs" / "runbook.md"
    titles = {
        line.lstrip("# ").strip().lower().replace(" ", "-")
        for line in runbook.read_text().splitlines()
        if line.startswith("#")
    }

    assert set(EXPECTED) <= titles
