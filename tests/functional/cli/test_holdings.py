"""What an environment has in an account, in memory: what is counted, what is told of it, and what is nobody else's."""

from typing import NoReturn

import boto3
import pytest
from botocore.exceptions import ClientError

from custody.deployment import leftovers
from custody.deployment.destroy import plan
from custody.deployment.empty_bucket import empty
from custody.deployment.leftovers import Account, Contents
from custody.deployment.stack import Resource, Stack
from custody.deployment.target import Target
from custody.terminal.console import watched
from tests.support.buckets import Buckets

RAW = "custody-dev-raw-123456789012-us-east-1"


@pytest.fixture
def account(buckets: Buckets) -> Account:  # noqa: ARG001 - AWS in memory
    session = boto3.Session(region_name="us-east-1")
    for bucket in (RAW, "custody-dev-raw-999999999999-us-east-1", "custody-developers", "custody-dev2-raw"):
        session.client("s3").create_bucket(Bucket=bucket)
    session.client("s3").put_bucket_versioning(Bucket=RAW, VersioningConfiguration={"Status": "Enabled"})
    return Account(Target("AWS in memory", session, None), "dev", "sandbox")


def test_only_what_is_named_as_the_deployment_names_it_is_of_the_environment(account: Account) -> None:
    assert [one.name for one in account.holdings() if one.kind == "bucket"] == [RAW]


def test_commands_name_the_region_and_the_profile(account: Account) -> None:
    (bucket,) = (one for one in account.holdings() if one.kind == "bucket")

    assert bucket.command == f"custody destroy --env dev --profile sandbox --bucket {RAW}"
    assert account.command("sqs", "list-queues") == "aws sqs list-queues --region us-east-1 --profile sandbox"


def test_an_empty_bucket_costs_nothing_and_a_delete_marker_counts_as_a_version(account: Account) -> None:
    assert not account.holding("bucket", RAW).is_billed

    s3 = account.target.client("s3")
    s3.put_object(Bucket=RAW, Key="a", Body=b"123")
    s3.delete_object(Bucket=RAW, Key="a")

    held = account.holding("bucket", RAW)
    assert (held.holds, held.is_billed) == ("2 versions, 3 bytes", True)


def test_of_many_versions_it_says_what_s3_told_cloudwatch(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        account.target.client("s3").put_object(Bucket=RAW, Key=str(number), Body=b"1")
    all_of_it = account.contents(RAW)
    assert (all_of_it.versions, all_of_it.size) == (3, 3), "one listing shows all"
    assert all_of_it.newest

    monkeypatch.setattr(leftovers, "LISTED", 2)
    told = account.contents(RAW)
    assert (told.versions, told.newest) == (3, None), "a listing shows two of them"


def test_a_number_that_the_listing_has_passed_is_none(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        account.target.client("s3").put_object(Bucket=RAW, Key=str(number), Body=b"1")
    monkeypatch.setattr(leftovers, "LISTED", 2)
    monkeypatch.setattr(Account, "_measured", lambda *_: 0)

    assert account.contents(RAW) == Contents(None, None), "CloudWatch was told before they were put"
    assert account.holding("bucket", RAW).is_billed


def test_what_nobody_has_counted_is_said_to_be_many() -> None:
    assert str(Contents(None, None)) == "more than 1,000 versions"
    assert str(Contents(5_000_000, 7 * 10**12)) == "5,000,000 versions, 7.0 TB"


def test_an_alarm_that_was_left_is_found_and_billed(account: Account) -> None:
    account.target.client("cloudwatch").put_metric_alarm(
        AlarmName="custody-dev-start-dlq",
        MetricName="m",
        Namespace="n",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )

    (alarm,) = (one for one in account.holdings() if one.kind == "alarm")
    assert alarm.is_billed
    assert alarm.command == account.command("cloudwatch", "delete-alarms", "--alarm-names", "custody-dev-start-dlq")


def test_what_nobody_may_look_for_is_said_and_the_rest_is_named(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Account) -> NoReturn:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not you"}}, "GetResources")

    monkeypatch.setitem(leftovers._FINDERS, "key", refused)  # noqa: SLF001 - one of them, by its kind

    found = {one.kind: one for one in account.holdings()}
    assert found["bucket"].name == RAW
    assert "not you" in found["key"].note
    assert found["key"].is_billed, "for all that is known"


def test_a_bucket_is_emptied_of_every_version(account: Account) -> None:
    s3 = account.target.client("s3")
    for key in ("a", "a", "b"):
        s3.put_object(Bucket=RAW, Key=key, Body=b"1")
    s3.delete_object(Bucket=RAW, Key="a")

    assert list(empty(s3, RAW)) == [None] * 4
    assert account.contents(RAW).versions == 0


def test_where_the_key_goes_and_something_stays_it_is_said_that_nobody_could_read_that(account: Account) -> None:
    key = account.target.client("kms").create_key()["KeyMetadata"]["KeyId"]
    going = Resource("Key", "AWS::KMS::Key", key, is_kept=False)
    staying = Resource("Audit", "AWS::S3::Bucket", RAW, is_kept=True)

    def note(*resources: Resource) -> str:
        stack = Stack("arn:stack", "custody-dev", "CREATE_COMPLETE", is_protected=False, resources=resources)
        return plan(account, stack, watched).goes[0].note

    assert "also what stays" in note(going, staying)
    assert "also what stays" not in note(going)


def test_while_cloudformation_is_at_work_nothing_is_deleted(account: Account) -> None:
    busy = Stack("arn:stack", "custody-dev", "UPDATE_IN_PROGRESS", is_protected=False, resources=())

    (against,) = plan(account, busy, watched).against
    assert against == "CloudFormation is at work on custody-dev (UPDATE_IN_PROGRESS): wait until that is over."
