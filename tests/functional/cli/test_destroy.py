"""`custody destroy` in memory, with a stand-in for CloudFormation: what it plans, deletes, refuses and reports."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from botocore.exceptions import ClientError

from custody.commands import destroy as command
from custody.deployment.destroy import KINDS, MACHINE, Account, Resource
from custody.deployment.target import Target
from custody.errors import SOME_WITHOUT_OUTCOME
from tests.support.audit_files import Run
from tests.support.buckets import Buckets, session
from tests.support.command_line import CommandLine, InMemory, refusal

COMMAND = "destroy"
SUFFIX = "-123456789012-us-east-1"
RAW, AUDIT, OTHER = f"custody-dev-raw{SUFFIX}", f"custody-dev-audit{SUFFIX}-an", f"custody-dev2-raw{SUFFIX}"
STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/custody-dev/1"


def tags(env: str) -> list[Any]:
    return [{"Key": key, "Value": value} for key, value in {"project": "custody", "env": env}.items()]


def error(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyCall")


def refuse(*_: object, **__: object) -> NoReturn:
    raise error("AccessDenied", "not \x1b[31myou")


@dataclass
class CloudFormation:
    """Stands in for CloudFormation, which moto has only with libraries that nothing else here needs.

    Like AWS, it deletes no bucket that holds something; `reason` is why a deletion fails without any of that.
    """

    s3: Any
    status: str | None = None
    resources: list[dict[str, str]] = field(default_factory=list)
    reason: str = ""
    while_deleting: Callable[[], None] = lambda: None
    emptying_times_out: bool = False
    owner: str = ""

    def add(self, name: str, resource_type: str = "AWS::S3::Bucket") -> None:
        self.status = "CREATE_COMPLETE"
        named = {"LogicalResourceId": "Any", "ResourceType": resource_type, "PhysicalResourceId": name}
        self.resources.append(named | {"ResourceStatus": "CREATE_COMPLETE"})

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        if self.status is None or "custody-dev" not in StackName:
            raise error("ValidationError", f"Stack with id {StackName} does not exist")
        stack = {"StackId": STACK_ID, "StackName": "custody-dev", "StackStatus": self.status}
        return {"Stacks": [stack | {"StackStatusReason": self.reason}]}

    def describe_stack_resources(self, PhysicalResourceId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        if not self.owner:
            raise error("ValidationError", f"Stack for {PhysicalResourceId} does not exist")
        resource = {"PhysicalResourceId": PhysicalResourceId, "ResourceStatus": "IMPORT_COMPLETE"}
        self.status = "IMPORT_COMPLETE"
        return {"StackResources": [resource | {"StackId": STACK_ID}]}

    def get_template(self, StackName: str) -> dict[str, Any]:  # noqa: ARG002, N803 - as boto3 names it
        return {"TemplateBody": {"Resources": {}}}

    def get_paginator(self, _: str) -> "CloudFormation":
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"StackResourceSummaries": self.resources}]

    def delete_stack(self, StackName: str) -> None:  # noqa: ARG002, N803 - as boto3 names it
        self.while_deleting()
        if self.emptying_times_out:
            # It refers to the bucket, so CloudFormation does not get as far as that.
            self.emptying_times_out = False
            self.status = "DELETE_FAILED"
            return
        for resource in list(self.resources):
            if self.s3.list_object_versions(Bucket=resource["PhysicalResourceId"]).get("Versions"):
                resource |= {"ResourceStatus": "DELETE_FAILED", "ResourceStatusReason": "not empty"}
            else:
                self.s3.delete_bucket(Bucket=resource["PhysicalResourceId"])
                self.resources.remove(resource)
        self.status = "DELETE_FAILED" if self.resources or self.reason else None


@pytest.fixture
def cloudformation(buckets: Buckets) -> CloudFormation:
    return CloudFormation(buckets.s3)


@pytest.fixture
def target(command_line: CommandLine, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch) -> InMemory:
    s3 = session().client("s3")
    for bucket, env in ((RAW, "dev"), (AUDIT, "dev"), (OTHER, "dev2")):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags(env)})
    command_line.clients = {"s3": s3, "cloudformation": cloudformation}
    monkeypatch.setattr("time.sleep", lambda _: None)
    return command_line.target


def forbid_listing(target: Target, bucket: str) -> None:
    def check(params: dict[str, Any], **_: object) -> None:
        if params["Bucket"] == bucket:
            refuse()

    target.client("s3").meta.events.register("before-parameter-build.s3.ListObjectVersions", check)


@pytest.fixture
def account(target: InMemory) -> Account:
    return Account(target, "dev", "sandbox")


def report(run: Run, *arguments: str) -> Any:
    """Return the document of a command that may fail."""
    return json.loads(run(*arguments, "--json").stdout)


def bucket_names(target: Target) -> set[str]:
    return {bucket["Name"] for bucket in target.client("s3").list_buckets()["Buckets"]} & {RAW, AUDIT, OTHER}


def put(target: Target, bucket: str, *keys: str) -> None:
    for key in keys:
        target.client("s3").put_object(Bucket=bucket, Key=key, Body=b"1")


# What belongs to others


@pytest.mark.parametrize("name", [OTHER, "custody-developers", "custody-dev-archive"])
def test_a_bucket_of_another_environment_is_refused(run: Run, target: InMemory, name: str) -> None:
    target.client("s3").create_bucket(Bucket="custody-dev-archive")
    target.client("s3").put_bucket_tagging(Bucket="custody-dev-archive", Tagging={"TagSet": tags("dev")})
    assert f"{name} is not a bucket of custody-dev" in refusal(run("--bucket", name, "--yes"))
    assert bucket_names(target) == {RAW, AUDIT, OTHER}


def test_a_bucket_of_another_stack_is_refused(target: InMemory, account: Account) -> None:
    stack = {"Key": "aws:cloudformation:stack-name", "Value": "another"}
    pages = [{"ResourceTagMappingList": [{"ResourceARN": f"arn:aws:s3:::{RAW}", "Tags": [*tags("dev"), stack]}]}]
    paginator = SimpleNamespace(paginate=lambda **_: pages)
    target.clients["resourcegroupstaggingapi"] = SimpleNamespace(get_paginator=lambda _: paginator)

    assert account.buckets() == []
    stack["Value"] = "custody-dev"
    assert account.buckets() == [RAW]


# What is planned


def test_resources_that_were_deleted_by_hand_are_gone_and_the_rest_is_planned(
    run: Run, target: InMemory, cloudformation: CloudFormation
) -> None:
    key = "11111111-1111-1111-1111-111111111111"
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/custody-dev-start-dlq"
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:custody-dev-pipeline"
    target.client("s3").delete_bucket(Bucket=AUDIT)
    cloudformation.add(RAW)
    for resource_type, name in zip(KINDS, (AUDIT, key, "/aws/lambda/custody-dev-start", queue), strict=True):
        cloudformation.add(name, resource_type)
    cloudformation.add(machine, MACHINE)

    planned = report(run, "--dry-run")
    contents = [resource["contents"] for resource in planned["stack"]["resources"]]
    assert contents == ["0 versions", "gone", "gone", "gone", "gone", ""]
    assert (planned["running_executions"], planned["blockers"]) == (0, [])


def test_what_a_bucket_holds_is_counted_up_to_a_page(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    put(account.target, RAW, "a")
    account.target.client("s3").delete_object(Bucket=RAW, Key="a")
    assert account.inspect(Resource("bucket", RAW)).contents == "2 versions"
    monkeypatch.setattr("custody.deployment.destroy.PAGE", 1)
    assert account.inspect(Resource("bucket", RAW)).contents == "more than 1 version"


@pytest.mark.usefixtures("target")
def test_a_busy_stack_is_not_deleted(run: Run, cloudformation: CloudFormation) -> None:
    cloudformation.add(RAW)
    cloudformation.status = "UPDATE_IN_PROGRESS"
    (blocker,) = report(run, "--dry-run")["blockers"]
    assert blocker == "CloudFormation is working on custody-dev (UPDATE_IN_PROGRESS); wait until it has finished."
    assert refusal(run("--yes"), SOME_WITHOUT_OUTCOME).startswith("Nothing was deleted.")


@pytest.mark.usefixtures("target")
def test_dead_letters_that_may_not_be_counted_do_not_block(
    run: Run, cloudformation: CloudFormation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "select", lambda *_: map(refuse, "1"))
    cloudformation.add(AUDIT)

    planned = report(run, "--dry-run")
    assert (planned["open_dead_letters"], planned["blockers"]) == (None, [])


def test_an_unreadable_dead_letter_counts_as_open(run: Run, target: InMemory, cloudformation: CloudFormation) -> None:
    dead_letter = "dead-letters/dt=2026-11-23/mission-a-json-0123456789abcdef01234567/000000000000000.0.Validate.json"
    cloudformation.add(AUDIT)
    put(target, AUDIT, dead_letter)

    assert report(run, "--dry-run")["open_dead_letters"] == 1


def test_a_dry_run_changes_nothing(run: Run, target: InMemory) -> None:
    put(target, RAW, "a")

    (bucket,) = report(run, "--bucket", RAW, "--dry-run")["buckets"]
    assert (bucket["name"], bucket["contents"]) == (RAW, "1 version")
    shown = run("--bucket", RAW, "--dry-run").stdout
    assert "Every unlocked version in these buckets will be permanently deleted" in shown
    assert RAW in bucket_names(target)


# What is left


def test_what_is_left_is_listed_by_tag_with_the_command_that_removes_it(account: Account) -> None:
    key = account.target.client("kms").create_key(
        Tags=[{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in tags("dev")]
    )["KeyMetadata"]["KeyId"]

    left = {resource.name: resource for resource in account.left()}
    assert left.keys() == {RAW, AUDIT, key}
    assert left[RAW].command == f"custody destroy --env dev --profile sandbox --bucket {RAW}"
    schedule = "aws kms schedule-key-deletion --pending-window-in-days 30 --key-id"
    assert left[key].command == f"{schedule} {key} --region us-east-1 --profile sandbox"


def test_a_bucket_that_may_not_be_listed_is_reported_and_does_not_hide_others(
    run: Run, target: InMemory, account: Account
) -> None:
    forbid_listing(target, AUDIT)

    left = {resource.name: resource for resource in account.left()}
    assert left.keys() == {RAW, AUDIT}
    assert left[AUDIT].contents.startswith("unknown: ")
    shown = run("--dry-run").stdout
    assert "not ␛[31myou" in shown
    assert "\x1b" not in shown


@pytest.mark.usefixtures("target")
def test_a_refusal_to_list_is_not_taken_for_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "_tagged", refuse)

    (unknown,) = report(run)["left"]
    assert "AccessDenied" in unknown["contents"]
    assert "nothing is left" not in run().stdout


# What is deleted


def test_each_bucket_is_deleted_once_and_a_refusal_does_not_affect_others(run: Run, target: InMemory) -> None:
    forbid_listing(target, AUDIT)

    ran = run("--bucket", AUDIT, "--bucket", RAW, "--bucket", RAW, "--yes", "--json")
    assert ran.exit_code == 1
    ((name, reason),) = json.loads(ran.stdout)["failures"].items()
    assert name == AUDIT
    assert "AccessDenied" in reason
    assert bucket_names(target) == {AUDIT, OTHER}


def test_versions_that_cannot_be_deleted_are_counted_and_keep_the_bucket(
    run: Run, target: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(target, RAW, "a", "b", "c")
    errors = [{"Key": key, "Code": "AccessDenied", "Message": "locked"} for key in "ab"]
    monkeypatch.setattr(target.client("s3"), "delete_objects", lambda **_: {"Errors": errors})

    deletion = report(run, "--bucket", RAW, "--yes")
    assert deletion["emptied"] == {RAW: 1}
    assert deletion["failures"] == {RAW: "2 versions cannot be deleted, such as a: locked (Object Lock may keep them)"}
    assert RAW in bucket_names(target)


@pytest.mark.parametrize("emptying_times_out", [False, True], ids=["full", "left full by the emptying function"])
def test_full_buckets_of_a_stack_are_emptied_and_it_is_deleted(
    run: Run, target: InMemory, cloudformation: CloudFormation, *, emptying_times_out: bool
) -> None:
    cloudformation.add(RAW)
    cloudformation.emptying_times_out = emptying_times_out
    put(target, RAW, "a", "a", "b")

    deletion = report(run, "--yes")
    assert (deletion["failures"], deletion["emptied"]) == ({}, {RAW: 3})
    assert bucket_names(target) == {AUDIT, OTHER}


@pytest.mark.usefixtures("target")
def test_a_bucket_that_was_imported_into_a_stack_is_refused(run: Run, cloudformation: CloudFormation) -> None:
    cloudformation.owner = "custody-dev"
    assert "belongs to the stack custody-dev" in refusal(run("--bucket", RAW, "--yes"))


def test_why_a_bucket_could_not_be_emptied_is_reported_with_the_failure_of_the_stack(
    run: Run, target: InMemory, cloudformation: CloudFormation
) -> None:
    cloudformation.add(RAW)
    put(target, RAW, "a")
    forbid_listing(target, RAW)

    ran = run("--yes")
    assert ran.exit_code == 1
    assert "AccessDenied" in ran.stdout
    assert "custody-dev was not deleted; fix what failed" in ran.stdout
    assert "--bucket" not in ran.stdout, "buckets of a stack cannot be deleted separately"


def test_a_stack_that_was_deleted_is_reported_so_though_a_log_group_is_left(
    run: Run, target: InMemory, cloudformation: CloudFormation
) -> None:
    cloudformation.add(RAW)
    target.clients["logs"] = SimpleNamespace(describe_log_groups=refuse)

    ran = run("--yes")
    assert ran.exit_code == 1
    assert "/aws/lambda/custody-dev-CustomS3AutoDeleteObjects was not deleted: " in ran.stdout
    assert "custody-dev was deleted\nleft of custody-dev:" in ran.stdout
    assert AUDIT in ran.stdout


@pytest.mark.usefixtures("target")
def test_a_stack_that_fails_without_a_resource_reports_why(run: Run, cloudformation: CloudFormation) -> None:
    cloudformation.status, cloudformation.reason = "CREATE_COMPLETE", "cannot assume the role"

    assert report(run, "--yes")["failures"] == {"custody-dev": "cannot assume the role"}


@pytest.mark.usefixtures("target")
def test_an_interrupt_says_what_may_continue(run: Run, cloudformation: CloudFormation) -> None:
    def interrupt() -> NoReturn:
        raise KeyboardInterrupt

    cloudformation.add(RAW)
    cloudformation.while_deleting = interrupt

    err = run("--yes").stderr
    assert "CloudFormation may still be deleting custody-dev" in err
    assert "custody destroy --env dev --aws --dry-run" in err
