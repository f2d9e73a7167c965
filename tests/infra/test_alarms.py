"""The alarms: a single failure sets one off, and the topic hears of it."""

from typing import Any

from infra.app import ROOT
from tests.support.template import ACCOUNT, REGION, Deployment, listed

EXECUTIONS = {"executions-failed": "Failed", "executions-timed-out": "TimedOut", "executions-aborted": "Aborted"}
METRICS = {
    "start-dlq": "ApproximateNumberOfMessagesVisible",
    "dead-letter-dlq": "ApproximateNumberOfMessagesVisible",
    **{name: f"Executions{end}" for name, end in EXECUTIONS.items()},
    **{f"bulk-{name}": f"Executions{end}" for name, end in EXECUTIONS.items()},
}
DIRECT = {"events-lost": "DestinationDeliveryFailures"}
BUFFERED = {"buffer-stuck": "ApproximateAgeOfOldestMessage"}
EXISTING_BUCKET = {
    "arrivals-start-dlq": "FailedInvocations",
    "arrivals-events-lost": "InvocationsFailedToBeSentToDlq",
}


def alarms(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Return each alarm, by its name without that of the stack."""
    prefix = f"custody-{deployment.env}-"
    return {name.removeprefix(prefix): alarm for name, alarm in deployment.of_type("AWS::CloudWatch::Alarm").items()}


def test_each_failure_has_its_alarm(deployment: Deployment) -> None:
    expected = METRICS | (BUFFERED if deployment.is_buffered else DIRECT)
    expected |= EXISTING_BUCKET if deployment.arrivals else {}
    metrics = {name: alarm["MetricName"] for name, alarm in alarms(deployment).items()}

    assert expected.items() <= metrics.items()


def test_a_single_failure_within_a_minute_sets_one_off(deployment: Deployment) -> None:
    for name, alarm in alarms(deployment).items():
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert alarm["Threshold"] == (300 if name == "buffer-stuck" else 1)
        assert alarm["Statistic"] == ("Maximum" if alarm["Namespace"] == "AWS/SQS" else "Sum"), name
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", 1)) == (60, 1, 1)
        assert alarm["TreatMissingData"] == "notBreaching"


def test_each_watches_a_resource_of_this_stack(deployment: Deployment) -> None:
    machines = {deployment.machine_arn(name) for name in ("pipeline", "bulk")}
    for alarm in alarms(deployment).values():
        (dimension,) = alarm["Dimensions"]
        assert dimension["Value"] in deployment.names() | machines


def test_each_notifies_the_topic_when_it_goes_off_and_when_it_ends(deployment: Deployment) -> None:
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:custody-{deployment.env}-alarms"

    for alarm in alarms(deployment).values():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def test_each_names_its_section_of_the_runbook(deployment: Deployment) -> None:
    sections = {f"docs/runbook.md#{line[3:]}." for line in (ROOT / "docs/runbook.md").read_text().splitlines()}
    for name, alarm in alarms(deployment).items():
        section = alarm["AlarmDescription"].rpartition(" ")[2]
        assert section in sections, f"add a section {section} for the alarm {name}"
        assert name.endswith(section.rpartition("#")[2].rstrip("."))


def test_alarms_may_publish_to_the_topic(deployment: Deployment) -> None:
    (statement,) = (each for each in deployment.policy("AWS::SNS::TopicPolicy") if each["Effect"] == "Allow")

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
    (statement,) = (each for each in key["KeyPolicy"]["Statement"] if each["Principal"] == principal)

    assert topic["KmsMasterKeyId"] == deployment.key
    assert set(listed(statement["Action"])) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


def test_nobody_is_subscribed_by_default(deployment: Deployment) -> None:
    assert deployment.of_type("AWS::SNS::Subscription") == {}
