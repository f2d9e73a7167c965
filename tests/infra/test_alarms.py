"""The alarms: one failure sets them off, and somebody hears of it."""

from dataclasses import dataclass
from typing import Any

from infra.app import ROOT
from tests.support.template import REGION, SUMMARIZE, Deployment, listed

MACHINES = {"": "pipeline", "bulk-": "bulk"}
"""What the alarms of a machine begin with."""

ENDS = {"executions-failed": "Failed", "executions-timed-out": "TimedOut", "executions-aborted": "Aborted"}
MESSAGES = ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "Maximum")


@dataclass(frozen=True)
class Expected:
    """What sets an alarm off: a metric of something of this stack, from a threshold on."""

    section: str
    metric: tuple[str, str, str]
    dimension: tuple[str, str]
    threshold: int = 1


def expected(deployment: Deployment) -> dict[str, Expected]:
    name = f"custody-{deployment.env}"
    machine = f"arn:aws:states:{REGION}:{SUMMARIZE}:stateMachine:{name}"
    found = {
        f"{prefix}{section}": Expected(
            section, ("AWS/States", f"Executions{end}", "Sum"), ("StateMachineArn", f"{machine}-{suffix}")
        )
        for prefix, suffix in MACHINES.items()
        for section, end in ENDS.items()
    } | {
        queue: Expected(queue, MESSAGES, ("QueueName", f"{name}-{queue}")) for queue in ("start-dlq", "dead-letter-dlq")
    }
    if deployment.arrivals:
        rule = ("RuleName", f"{name}-arrivals")
        found |= {
            "arrivals-start-dlq": Expected("start-dlq", ("AWS/Events", "FailedInvocations", "Sum"), rule),
            "arrivals-events-lost": Expected(
                "events-lost", ("AWS/Events", "InvocationsFailedToBeSentToDlq", "Sum"), rule
            ),
        }
    if deployment.is_buffered:
        age = ("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum")
        return found | {"buffer-stuck": Expected("buffer-stuck", age, ("QueueName", f"{name}-buffer"), 300)}
    lost = ("AWS/Lambda", "DestinationDeliveryFailures", "Sum")
    return found | {"events-lost": Expected("events-lost", lost, ("FunctionName", f"{name}-start"))}


def alarms(deployment: Deployment) -> dict[str, dict[str, Any]]:
    """Each alarm, by what its name says after the name of the stack."""
    prefix = f"custody-{deployment.env}-"
    return {name.removeprefix(prefix): found for name, found in deployment.of_type("AWS::CloudWatch::Alarm").items()}


def test_these_are_the_alarms(deployment: Deployment) -> None:
    assert set(alarms(deployment)) == set(expected(deployment))


def test_a_single_failure_within_a_minute_sets_one_off(deployment: Deployment) -> None:
    for name, found in alarms(deployment).items():
        wanted = expected(deployment)[name]
        assert (found["Namespace"], found["MetricName"], found["Statistic"]) == wanted.metric
        assert (found["ComparisonOperator"], found["Threshold"]) == (
            "GreaterThanOrEqualToThreshold",
            wanted.threshold,
        ), name
        assert (found["Period"], found["EvaluationPeriods"]) == (60, 1)
        assert found.get("DatapointsToAlarm", 1) == 1
        assert found["TreatMissingData"] == "notBreaching"


def test_each_watches_something_of_this_stack(deployment: Deployment) -> None:
    for name, found in alarms(deployment).items():
        (dimension,) = found["Dimensions"]
        assert (dimension["Name"], dimension["Value"]) == expected(deployment)[name].dimension


def test_each_tells_the_topic_when_it_goes_off_and_when_it_ends(deployment: Deployment) -> None:
    topic = f"arn:aws:sns:{REGION}:{SUMMARIZE}:custody-{deployment.env}-alarms"

    for found in alarms(deployment).values():
        assert found["AlarmActions"] == found["OKActions"] == [topic]


def test_each_says_where_to_read_on(deployment: Deployment) -> None:
    for name, found in alarms(deployment).items():
        section = expected(deployment)[name].section
        assert found["AlarmDescription"].endswith(f"What to do: docs/runbook.md#{section}.")


def test_alarms_may_publish_to_the_topic(deployment: Deployment) -> None:
    (statement,) = (found for found in deployment.policy("AWS::SNS::TopicPolicy") if found["Effect"] == "Allow")

    assert statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert statement["Action"] == "sns:Publish"
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": SUMMARIZE},
        "ArnLike": {"aws:SourceArn": f"arn:aws:cloudwatch:{REGION}:{SUMMARIZE}:alarm:custody-{deployment.env}-*"},
    }


def test_alarms_may_use_the_key_of_the_topic(deployment: Deployment) -> None:
    (topic,) = deployment.of_type("AWS::SNS::Topic").values()
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    principal = {"Service": "cloudwatch.amazonaws.com"}
    (statement,) = (found for found in key["KeyPolicy"]["Statement"] if found["Principal"] == principal)

    assert topic["KmsMasterKeyId"] == deployment.key
    assert set(listed(statement["Action"])) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": SUMMARIZE}}


def test_nobody_is_written_to_unless_named(deployment: Deployment) -> None:
    assert deployment.of_type("AWS::SNS::Subscription") == {}


def test_the_runbook_has_a_section_for_each_alarm(deployment: Deployment) -> None:
    runbook = ROOT / "docs" / "runbook.md"
    titles = {
        line.lstrip("# ").strip().lower().replace(" ", "-")
        for line in runbook.read_text().splitlines()
        if line.startswith("#")
    }

    assert {wanted.section for wanted in expected(deployment).values()} <= titles
