"""What a reader of docs/consuming.md deploys: the stack of a consumer, and the statements for another account."""

import json
import re
from typing import Any

from cfnlint.api import lint  # type: ignore[import-untyped]  # it ships no types
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]

from custody.deployment.target import ROOT
from datasets.mission.transform import transform

DOCUMENT = (ROOT / "docs/consuming.md").read_text(encoding="utf-8")
TEMPLATE = (ROOT / "samples/deliveries.yaml").read_text(encoding="utf-8")
RESOURCES: dict[str, Any] = cfn_yaml.loads(TEMPLATE)["Resources"]


def complaints(template: str) -> list[str]:
    matches = lint(template, config=ManualArgs(regions=["us-east-1", "eu-west-1"]))
    return [f"{match.rule.id} {match.message}" for match in matches]


def policies() -> list[list[dict[str, Any]]]:
    """Return the lists of policy statements that the document shows."""
    shown = (json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL))
    return [statements for statements in shown if isinstance(statements, list)]


def with_policies(bucket: Any, key: Any) -> dict[str, Any]:
    """Write resources with the statements for a bucket and a key, as cfn-lint reads them."""
    bucket_policy = {"Bucket": "processed", "PolicyDocument": {"Version": "2012-10-17", "Statement": bucket}}
    return {
        "Bucket": {"Type": "AWS::S3::BucketPolicy", "Properties": bucket_policy},
        "Key": {
            "Type": "AWS::KMS::Key",
            "Properties": {"KeyPolicy": {"Version": "2012-10-17", "Statement": key}},
        },
    }


def test_the_stack_and_the_statements_pass_cfn_lint() -> None:
    bucket, key = policies()
    template = cfn_yaml.loads(TEMPLATE)
    template["Resources"] |= with_policies(bucket, key)
    assert complaints(json.dumps(template)) == []

    template["Resources"] |= with_policies([{**bucket[0], "Effect": "Permit"}], key)
    complained = complaints(json.dumps(template).replace("maxReceiveCount", "maxReceives"))
    assert any("Permit" in each for each in complained), "it checks statements"
    assert any("maxReceives" in each for each in complained), "it checks resources"


def test_the_rule_comes_after_the_policies_that_permit_it_and_keeps_undeliverable_events() -> None:
    policies = {name for name, each in RESOURCES.items() if each["Type"] == "AWS::SQS::QueuePolicy"}
    assert set(RESOURCES["Rule"]["DependsOn"]) == policies
    assert "Rule.Arn" not in TEMPLATE, "a policy that waits for the rule is made after it"
    (target,) = RESOURCES["Rule"]["Properties"]["Targets"]
    assert target["DeadLetterConfig"]["Arn"] == {"Fn::GetAtt": ["Untaken", "Arn"]}


def test_each_queue_accepts_messages_of_the_rule_alone_and_requires_tls() -> None:
    policies = {
        policy["Properties"]["Queues"][0]["Ref"]: policy["Properties"]["PolicyDocument"]["Statement"]
        for policy in RESOURCES.values()
        if policy["Type"] == "AWS::SQS::QueuePolicy"
    }

    assert policies.keys() == {name for name, each in RESOURCES.items() if each["Type"] == "AWS::SQS::Queue"}
    assert RESOURCES["Rule"]["Properties"]["Name"] == {"Ref": "AWS::StackName"}
    rule = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/${AWS::StackName}"
    for queue, (takes, refuses) in policies.items():
        arn = {"Fn::GetAtt": [queue, "Arn"]}
        assert (takes["Action"], takes["Resource"]) == ("sqs:SendMessage", arn)
        assert takes["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::Sub": rule}}}
        assert (refuses["Effect"], refuses["Action"], refuses["Resource"]) == ("Deny", "sqs:*", arn)
        assert refuses["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_another_account_may_read_and_list_one_dataset_and_nothing_else() -> None:
    bucket, key = policies()
    processed = "arn:aws:s3:::custody-prod-processed-111122223333-eu-west-1-an"

    assert [(statement["Action"], statement["Resource"]) for statement in bucket] == [
        (["s3:GetObject", "s3:GetObjectVersion"], f"{processed}/mission/*"),
        (["s3:ListBucket", "s3:ListBucketVersions"], processed),
    ]
    assert bucket[1]["Condition"] == {"StringLike": {"s3:prefix": "mission/*"}}
    assert [statement["Action"] for statement in key] == ["kms:Decrypt"]


def test_the_table_has_the_columns_of_a_delivered_record_and_projects_the_days_of_objects() -> None:
    table = re.search(r"CREATE EXTERNAL TABLE mission \(\n(.*?)\n\)\n", DOCUMENT, re.DOTALL)
    assert table
    columns = [line.split()[0] for line in table.group(1).splitlines()]

    delivered = transform({"mission": "space", "source": "MASINT", "confidence": 0.95})
    assert columns == list(delivered)
    properties = dict(re.findall(r"'([\w.]+)' = '(.*?)'", DOCUMENT))
    location = re.search(r"^LOCATION '(.*)'$", DOCUMENT, re.MULTILINE)

    assert location
    assert properties["storage.location.template"] == f"{location.group(1)}dt=${{dt}}/"
    assert properties["projection.dt.format"] == "yyyy-MM-dd"
    assert {name for name in properties if name.startswith("projection.dt.")} == {
        f"projection.dt.{name}" for name in ("type", "format", "range", "interval", "interval.unit")
    }
