"""The alarms: a single failure sets one off, and the topic hears of it."""

from typing import Any

from infra.app import ROOT
from tests.support.template import ACCOUNT, REGION, Deployment

OTHERS = {
    "start-dlq": "ApproximateNumberOfMessagesVisible",
    "dead-letter-dlq": "ApproximateNumberOfMessagesVisible",
    **{
        f"{machine}executions-{end}": metric
        for machine in ("", "bulk-")
        for end, metric in (
            ("failed", "ExecutionsFailed"),
            ("timed-out", "ExecutionsTimedOut"),
            ("aborted", "ExecutionsAborted"),
        )
    },
}
"""The alarms whose metrics count what waits for somebody, by name."""


def alarms(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Return each alarm, by its name without that of the stack."""
    prefix = f"custody-{deployment.env}-"
    return {name.removeprefix(prefix): alarm for name, alarm in deployment.of_type("AWS::CloudWatch::Alarm").items()}


def test_each_failure_has_its_alarm(deployment: Deployment) -> None:
    waiting = OTHERS | ({"buffer-stuck": "ApproximateAgeOfOldestMessage"} if deployment.is_buffered else {})

    assert {name: alarms(deployment)[name]["MetricName"] for name in waiting} == waiting


def test_each_possible_loss_has_an_alarm(deployment: Deployment) -> None:
    """An event is lost if it reaches neither a function nor the queue of its failures."""
    called = [each["FunctionName"] for each in deployment.of_type("AWS::Lambda::EventInvokeConfig").values()]
    ruled = [
        name
        for name, rule in deployment.of_type("AWS::Events::Rule").items()
        for target in rule["Targets"]
        if target["DeadLetterConfig"]
    ]
    losses = {("FunctionName", name, "DestinationDeliveryFailures") for name in called} | {
        ("RuleName", name, metric)
        for name in ruled
        for metric in ("FailedInvocations", "InvocationsFailedToBeSentToDlq")
    }
    named = {
        (alarm["Dimensions"][0]["Name"], alarm["Dimensions"][0]["Value"], alarm["MetricName"])
        for alarm in alarms(deployment).values()
        if alarm["Dimensions"][0]["Name"] in {"FunctionName", "RuleName"}
    }

    assert f"custody-{deployment.env}-dead-letter" in called
    assert named == losses


def test_a_single_failure_within_a_minute_of_a_resource_of_this_stack_notifies_the_topic(
    deployment: Deployment,
) -> None:
    own = deployment.names() | {deployment.machine_arn(name) for name in ("pipeline", "bulk")} | {*deployment.resources}
    for name, alarm in alarms(deployment).items():
        (dimension,) = alarm["Dimensions"]
        assert dimension["Value"] in own
        assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"
        assert alarm["Threshold"] == (300 if name == "buffer-stuck" else 1)
        assert alarm["Statistic"] == ("Maximum" if alarm["Namespace"] == "AWS/SQS" else "Sum"), name
        assert (alarm["Period"], alarm["EvaluationPeriods"], alarm.get("DatapointsToAlarm", 1)) == (60, 1, 1)
        assert alarm["TreatMissingData"] == "notBreaching"
        topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:custody-{deployment.env}-alarms"
        assert alarm["AlarmActions"] == alarm["OKActions"] == [topic]


def test_each_names_its_section_of_the_runbook(deployment: Deployment) -> None:
    sections = {f"docs/runbook.md#{line[3:]}." for line in (ROOT / "docs/runbook.md").read_text().splitlines()}
    for name, alarm in alarms(deployment).items():
        section = alarm["AlarmDescription"].rpartition(" ")[2]
        assert section in sections, f"add a section {section} for the alarm {name}"
        assert name.endswith(section.rpartition("#")[2].rstrip("."))


def test_only_alarms_of_the_stack_may_publish_to_the_topic_which_nobody_is_subscribed_to_by_default(
    deployment: Deployment,
) -> None:
    (statement,) = (each for each in deployment.policy("AWS::SNS::TopicPolicy") if each["Effect"] == "Allow")

    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:custody-{deployment.env}-*"},
    }
    (topic,) = deployment.of_type("AWS::SNS::Topic").values()
    assert topic["KmsMasterKeyId"] == deployment.key
    assert deployment.of_type("AWS::SNS::Subscription") == {}
