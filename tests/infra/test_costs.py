"""What is billed while nothing happens: docs/costs.md counts the key and the alarms alone."""

from infra.settings import parse
from tests.support.template import Deployment


def test_only_the_key_and_the_alarms_are_billed_while_nothing_happens(prod: Deployment, buffered: Deployment) -> None:
    free_when_idle = {
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::Logs::LogGroup",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SNS::Subscription",
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::StepFunctions::StateMachine",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::IAM::Policy",
        "AWS::KMS::Alias",
        "Custom::S3AutoDeleteObjects",
    }
    for deployment in (prod, buffered):
        kinds = {each["Type"] for each in deployment.resources.values()}
        assert kinds - free_when_idle == {"AWS::KMS::Key", "AWS::CloudWatch::Alarm"}
        assert len(deployment.of_type("AWS::KMS::Key")) == 1


def test_no_temporary_storage_is_billed_by_default() -> None:
    assert {parse({}).size(step).storage_mb for step in ("validate", "transform", "write")} == {512}
