"""`custody destroy` where an environment is not whole, or not all of it may be touched; CloudFormation stands in."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import boto3
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner, Result

from custody.app import app
from custody.commands import destroy as command
from custody.deployment import destroy
from custody.deployment.destroy import Done, delete_buckets, delete_stack, plan
from custody.deployment.leftovers import Account
from custody.deployment.stack import BUCKET, FAILED, Event, Resource, Stack
from custody.deployment.target import Target
from custody.errors import USAGE, CommandFailed
from custody.terminal.console import watched
from tests.support.buckets import Buckets

BEHIND = "-123456789012-us-east-1"
RAW, AUDIT = f"custody-dev-raw{BEHIND}", f"custody-dev-audit{BEHIND}"
STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/custody-dev/1"


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "AnyCall")


def refusing(code: str, message: str = "") -> Callable[..., Iterator[Any]]:
    """Give something that is to be gone through, and is refused then."""

    def refuse(_: object) -> NoReturn:
        raise refusal(code, message)

    return lambda *_: map(refuse, "1")


@dataclass
class CloudFormation:
    """Stands for CloudFormation, which moto has only with libraries that nothing else here needs."""

    statuses: dict[str, str] = field(default_factory=dict)
    resources: list[dict[str, str]] = field(default_factory=list)

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        name = StackName.split("/")[1] if "/" in StackName else StackName
        if name not in self.statuses:
            raise refusal("ValidationError", f"Stack with id {name} does not exist")
        return {"Stacks": [{"StackId": STACK_ID, "StackName": name, "StackStatus": self.statuses[name]}]}

    def get_template(self, StackName: str) -> dict[str, Any]:  # noqa: ARG002, N803 - as boto3 names it
        return {"TemplateBody": {"Resources": {}}}

    def get_paginator(self, _: str) -> "CloudFormation":
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"StackResourceSummaries": self.resources}]

    def describe_stack_resources(self, PhysicalResourceId: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names it
        if not self.resources:
            raise refusal("ValidationError", f"Stack for {PhysicalResourceId} does not exist")
        return {"StackResources": self.resources}


@dataclass(frozen=True)
class Here(Target):
    """An AWS in memory, with a CloudFormation, and with buckets that may not be listed."""

    cloudformation: CloudFormation
    closed: set[str]

    def client(self, service: Any) -> Any:
        if service == "cloudformation":
            return self.cloudformation
        client = super().client(service)
        if service == "s3":
            client.meta.events.register("before-parameter-build.s3.ListObjectVersions", self._listing)
        return client

    def _listing(self, params: dict[str, Any], **_: object) -> None:
        if params["Bucket"] in self.closed:
            raise refusal("AccessDenied", "not \x1b[31myou")


@pytest.fixture
def here(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> Here:  # noqa: ARG001 - AWS in memory
    session = boto3.Session(region_name="us-east-1")
    for bucket in (RAW, AUDIT):
        session.client("s3").create_bucket(Bucket=bucket)
    target = Here("AWS in memory", session, None, CloudFormation(), set())
    monkeypatch.setattr(command, "target_of", lambda *_: target)
    return target


@pytest.fixture
def account(here: Here) -> Account:
    return Account(here, "dev")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["destroy", *arguments])


def stack_of(*resources: Resource, status: str = "CREATE_COMPLETE") -> Stack:
    return Stack(STACK_ID, "custody-dev", status, is_protected=False, resources=resources)


def of_bucket(name: str, *, is_kept: bool = False) -> Resource:
    return Resource(name.split("-")[2].title(), BUCKET, name, is_kept)


def buckets(here: Here) -> set[str]:
    found = here.session.client("s3").list_buckets()["Buckets"]
    return {one["Name"] for one in found if one["Name"].startswith("custody-")}


# What is of somebody else


def test_the_ledger_of_an_environment_is_not_of_another_whose_name_would_begin_alike(here: Here) -> None:
    ran = run("--env", "dev-audit", "--bucket", AUDIT, "--yes")

    assert isinstance(ran.exception, CommandFailed)
    assert ran.exception.code == USAGE
    assert AUDIT in buckets(here)


def test_a_bucket_that_a_stack_of_any_name_has_is_not_deleted(here: Here) -> None:
    here.cloudformation.statuses["another"] = "CREATE_COMPLETE"
    of_another = {"StackId": "arn:stack/another/1", "PhysicalResourceId": RAW, "ResourceStatus": "CREATE_COMPLETE"}
    here.cloudformation.resources.append(of_another)

    ran = run("--bucket", RAW, "--yes")
    assert isinstance(ran.exception, CommandFailed)
    assert ran.exception.code == USAGE
    assert f"{RAW} is of the stack another" in str(ran.exception)
    assert RAW in buckets(here)

    of_another["PhysicalResourceId"] = "the first hundred of a large stack"
    assert f"{RAW} is of the stack another" in str(run("--bucket", RAW, "--yes").exception)
    assert RAW in buckets(here)


@pytest.mark.parametrize(
    ("of_stack", "of_bucket"), [("DELETE_COMPLETE", "CREATE_COMPLETE"), ("UPDATE_COMPLETE", "DELETE_SKIPPED")]
)
def test_a_bucket_that_a_stack_has_kept_when_it_let_it_go_is_deleted(here: Here, of_stack: str, of_bucket: str) -> None:
    here.cloudformation.statuses["another"] = of_stack
    kept = {"StackId": "arn:stack/another/1", "PhysicalResourceId": RAW, "ResourceStatus": of_bucket}
    here.cloudformation.resources.append(kept)

    assert run("--bucket", RAW, "--yes").exit_code == 0
    assert RAW not in buckets(here)


# What is there no more


def test_what_was_deleted_by_hand_is_gone_and_the_rest_is_planned(account: Account) -> None:
    nobody = "11111111-1111-1111-1111-111111111111"
    queue = "https://sqs.us-east-1.amazonaws.com/123456789012/custody-dev-start-dlq"
    machine = "arn:aws:states:us-east-1:123456789012:stateMachine:custody-dev-pipeline"
    account.target.client("s3").delete_bucket(Bucket=AUDIT)
    found = plan(
        account,
        stack_of(
            of_bucket(RAW),
            of_bucket(AUDIT),
            Resource("Key", "AWS::KMS::Key", nobody, is_kept=False),
            Resource("Logs", "AWS::Logs::LogGroup", "/aws/lambda/custody-dev-start", is_kept=False),
            Resource("Queue", "AWS::SQS::Queue", queue, is_kept=False),
            Resource("Machine", "AWS::StepFunctions::StateMachine", machine, is_kept=False),
        ),
        watched,
    )

    assert {one.name: one.holds for one in found.goes} == {
        RAW: "empty",
        AUDIT: "gone",
        nobody: "gone",
        "/aws/lambda/custody-dev-start": "gone",
        queue: "gone",
    }
    assert {one.command for one in found.goes} == {None}
    assert (found.dead_letters, found.in_flight, found.against) == (0, 0, ())


def test_the_key_of_what_is_gone_is_needed_by_nothing_that_stays(account: Account) -> None:
    key = account.target.client("kms").create_key()["KeyMetadata"]["KeyId"]
    account.target.client("s3").delete_bucket(Bucket=AUDIT)
    going = Resource("Key", "AWS::KMS::Key", key, is_kept=False)

    found = plan(account, stack_of(going, of_bucket(AUDIT, is_kept=True)), watched)
    assert "also what stays" not in found.goes[0].note


# What may not be looked into


def test_a_bucket_that_may_not_be_listed_hides_no_other(here: Here, account: Account) -> None:
    here.closed.add(AUDIT)

    found = {one.name: one for one in account.holdings() if one.kind == "bucket"}
    assert found.keys() == {RAW, AUDIT}
    assert (found[AUDIT].holds, found[AUDIT].is_billed) == ("not known", True)
    assert "AccessDenied" in found[AUDIT].note

    going = plan(account, stack_of(of_bucket(AUDIT)), watched).goes[0]
    assert "AccessDenied" in going.note, "also of what goes it is told"

    shown = run("--dry-run").stdout
    assert "not ␛[31myou" in shown
    assert "\x1b" not in shown
    assert run("--bucket", RAW, "--yes").exit_code == 0
    assert buckets(here) == {AUDIT}


def test_dead_letters_that_may_not_be_counted_are_no_reason_to_keep_everything(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "select", refusing("AccessDenied"))

    assert plan(account, stack_of(of_bucket(AUDIT)), watched).dead_letters is None


def test_a_dead_letter_that_cannot_be_read_is_open_all_the_same(account: Account) -> None:
    dead_letter = "dead-letters/dt=2026-11-23/mission-a-json-0123456789abcdef01234567/000000000000000.0.Validate.json"
    account.target.client("s3").put_object(Bucket=AUDIT, Key=dead_letter, Body=b"replaced")

    assert plan(account, stack_of(of_bucket(AUDIT)), watched).dead_letters == 1


# What is done, and told


def test_what_a_dry_run_of_a_bucket_would_empty_is_shown(here: Here) -> None:
    here.client("s3").put_object(Bucket=RAW, Key="a", Body=b"1")

    ran = run("--bucket", RAW, "--dry-run", "--json")
    assert ran.exit_code == 0
    (told,) = json.loads(ran.stdout)["buckets"]
    assert (told["name"], told["holds"]) == (RAW, "1 version, 1 byte")
    assert "every version that is not locked" in run("--bucket", RAW, "--dry-run").stdout
    assert RAW in buckets(here)


def test_each_named_bucket_is_deleted_once_and_what_is_refused_is_reported(here: Here) -> None:
    here.closed.add(AUDIT)

    ran = run("--bucket", RAW, "--bucket", RAW, "--bucket", AUDIT, "--yes", "--json")
    assert ran.exit_code == 1
    (failure,) = json.loads(ran.stdout)["failures"]
    assert failure["name"] == AUDIT
    assert "AccessDenied" in failure["reason"]
    assert buckets(here) == {AUDIT}


def test_a_bucket_that_cannot_be_deleted_keeps_no_other(account: Account) -> None:
    done = delete_buckets(account, [RAW, f"custody-dev-gone{BEHIND}", AUDIT], watched)

    assert [failure.name for failure in done.failures] == [f"custody-dev-gone{BEHIND}"]
    assert {one.name for one in account.holdings() if one.kind == "bucket"} == set()


def test_of_a_million_locked_versions_their_number_and_the_first_are_kept(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "empty", lambda *_: iter(["a: locked", None, "b: locked"]))

    done = delete_buckets(account, [RAW], watched)
    assert (done.held[RAW].number, done.held[RAW].first, done.emptied[RAW]) == (2, "a: locked", 1)
    assert RAW in account.buckets()


class Deleting:
    """CloudFormation as it deletes a stack: no bucket that holds something, and nothing else while that is there."""

    def __init__(self, account: Account) -> None:
        self._s3 = account.target.client("s3")

    def __call__(self, _: Target, stack: Stack) -> Iterator[Event]:
        refused = False
        for one in stack.of(BUCKET):
            held = self._s3.list_object_versions(Bucket=one.name)
            refused = refused or bool(held.get("Versions"))
            if held.get("Versions"):
                yield Event(one.logical_id, one.type, one.name, FAILED, "not empty")
        yield Event("custody-dev", "AWS::CloudFormation::Stack", STACK_ID, FAILED if refused else "DELETE_COMPLETE", "")


def test_a_full_bucket_is_emptied_whatever_cloudwatch_was_told(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "delete", Deleting(account))
    monkeypatch.setattr(Account, "_measured", lambda *_: 0)
    monkeypatch.setattr("custody.deployment.leftovers.LISTED", 1)
    for key in ("a", "b"):
        account.target.client("s3").put_object(Bucket=RAW, Key=key, Body=b"1")

    done = delete_stack(account, stack_of(of_bucket(RAW), status=FAILED), watched)
    assert (done.emptied, done.failures, done.stands) == ({RAW: 2}, [], False)


def test_why_a_bucket_could_not_be_emptied_is_told_beside_what_cloudformation_says(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "delete", Deleting(account))
    monkeypatch.setattr(destroy, "empty", refusing("AccessDenied", "no DeleteObjectVersion"))
    account.target.client("s3").put_object(Bucket=RAW, Key="a", Body=b"1")

    done = delete_stack(account, stack_of(of_bucket(RAW)), watched)
    assert done.stands
    of_cloudformation, of_s3 = done.failures
    assert of_cloudformation.reason == "not empty"
    assert "no DeleteObjectVersion" in of_s3.reason


def test_a_stack_that_fails_without_a_resource_stands_and_says_why(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Event("custody-dev", "AWS::CloudFormation::Stack", STACK_ID, FAILED, "the role may not be assumed")
    monkeypatch.setattr(destroy, "delete", lambda *_: iter([failed]))

    done = delete_stack(account, stack_of(), watched)
    assert (done.stands, done.failures) == (True, [failed])


def test_while_the_stack_stands_no_command_is_offered_that_would_be_refused(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.cloudformation.statuses["custody-dev"] = FAILED
    failed = Done(stands=True, failures=[Event("Raw", BUCKET, RAW, FAILED, "not empty")])
    monkeypatch.setattr(command, "delete_stack", lambda *_: failed)

    ran = run("--yes")
    assert ran.exit_code == 1
    assert RAW in ran.stdout
    assert "--bucket" not in ran.stdout
    assert "is not deleted: fix what failed" in ran.stdout


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("DELETE_IN_PROGRESS", "CloudFormation goes on by itself."),
        (FAILED, "custody-dev is DELETE_FAILED, and nothing goes on by itself."),
        (None, "custody-dev is deleted."),
    ],
)
def test_who_interrupts_it_is_told_what_goes_on(
    here: Here, monkeypatch: pytest.MonkeyPatch, status: str | None, said: str
) -> None:
    statuses = here.cloudformation.statuses
    statuses["custody-dev"] = "CREATE_COMPLETE"

    def interrupted(*_: object) -> NoReturn:
        statuses.clear()
        statuses.update({"custody-dev": status} if status else {})
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "delete_stack", interrupted)

    ran = run("--yes")
    assert f"{said} See what is left: custody destroy --env dev --aws --dry-run" in ran.stderr
