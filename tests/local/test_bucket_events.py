"""Events of a bucket on EventBridge, and the queues that may receive them.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/EventBridge.html
"""

import json
from functools import partial
from typing import Any

import pytest

from tests.support.embedded_aws import EmbeddedAws, until


def queue(cloud: EmbeddedAws, name: str, *, lets_in: str | None) -> tuple[str, str]:
    """Create a queue that accepts the events of a rule, or no events; return its URL and its ARN."""
    url, arn = cloud.queue(name)
    if lets_in:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": lets_in}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        cloud.queues.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


@pytest.fixture(scope="module")
def rule(cloud: EmbeddedAws) -> str:
    """Return the ARN of a rule for objects under `mission/` in two buckets; `delivered` is versioned."""
    for bucket in ("delivered", "plain"):
        cloud.s3.create_bucket(Bucket=bucket)
        cloud.s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
    cloud.s3.put_bucket_versioning(Bucket="delivered", VersioningConfiguration={"Status": "Enabled"})
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["delivered", "plain"]}, "object": {"key": [{"prefix": "mission/"}]}},
    }
    return cloud.events.put_rule(Name="deliveries", EventPattern=json.dumps(pattern))["RuleArn"]


def test_an_event_has_the_version_and_reaches_only_queues_that_allow_the_rule(cloud: EmbeddedAws, rule: str) -> None:
    queues = [queue(cloud, "closed", lets_in=None), queue(cloud, "other", lets_in=f"{rule}-other")]
    queues.append(queue(cloud, "open", lets_in=rule))
    targets: Any = [{"Id": str(number), "Arn": arn} for number, (_, arn) in enumerate(queues)]
    cloud.events.put_targets(Rule="deliveries", Targets=targets)

    cloud.s3.put_object(Bucket="delivered", Key="other/a.jsonl", Body=b"1")
    put = cloud.s3.put_object(Bucket="delivered", Key="mission/a b.jsonl", Body=b"12345")

    *closed, open_to_it = (url for url, _ in queues)
    (event,) = cloud.received(open_to_it, 1)
    assert event["detail"]["object"].pop("sequencer")
    assert event["detail"]["object"] == {
        "key": "mission/a b.jsonl",
        "size": 5,
        "etag": put["ETag"].strip('"'),
        "version-id": put["VersionId"],
    }
    # Targets are served in their order, so that what these were to get would be there by now.
    assert [cloud.messages(url) for url in closed] == [[], []]


def test_an_event_that_its_queue_refuses_is_dead_lettered(cloud: EmbeddedAws, rule: str) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html."""
    (closed, closed_arn), (kept, kept_arn) = queue(cloud, "shut", lets_in=None), queue(cloud, "kept", lets_in=rule)
    target: Any = {"Id": "8", "Arn": closed_arn, "DeadLetterConfig": {"Arn": kept_arn}}
    cloud.events.put_targets(Rule="deliveries", Targets=[target])

    put = cloud.s3.put_object(Bucket="delivered", Key="mission/c.jsonl", Body=b"1")

    (message,) = until(partial(cloud.messages, kept), "the event")
    event = json.loads(message["Body"])
    assert event["detail"]["object"]["version-id"] == put["VersionId"], "the event itself, as a redrive needs it"
    attributes = {key: value["StringValue"] for key, value in message["MessageAttributes"].items()}
    assert attributes.pop("ERROR_MESSAGE").endswith(f"sqs:SendMessage on resource: {target['Arn']}")
    assert attributes == {
        "RULE_ARN": rule,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": "NO_PERMISSIONS",
        "RETRY_ATTEMPTS": "0",
    }
    assert cloud.messages(closed) == []


def test_a_bucket_without_versioning_has_no_version_in_its_events(cloud: EmbeddedAws, rule: str) -> None:
    heard, arn = queue(cloud, "unversioned", lets_in=rule)
    cloud.events.put_targets(Rule="deliveries", Targets=[{"Id": "9", "Arn": arn}])

    cloud.s3.put_object(Bucket="plain", Key="mission/b.jsonl", Body=b"1")

    (event,) = cloud.received(heard, 1)
    assert event["detail"]["object"].keys() == {"key", "size", "etag", "sequencer"}
