"""Least privilege: exact actions on exact resources; docs/architecture.md lists all permissions."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.settings import FUNCTIONS
from tests.support.steps import STEPS
from tests.support.template import ACCOUNT, EXISTING, REGION, Deployment, listed

WITHOUT_RESOURCES = (
    {"xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"}
    | {f"logs:{action}LogDelivery" for action in ("Create", "Get", "Update", "Delete")}
    | {
        f"logs:{action}"
        for action in ("ListLogDeliveries", "PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups")
    }
)
"""Actions that know no resources: tracing, and the log delivery of state machines."""

WRITES = {
    "start": set(),
    "validate": {"staging/batches/*"},
    "transform": {"staging/batches/*"},
    "write": {"processed/*", "audit/ledger/*", "audit/dead-letters/*"},
    "summarize": {"audit/ledger/*"},
    "dead_letter": {"audit/ledger/*", "audit/dead-letters/*"},
}
"""Where each function puts objects; one that you add may write to the staging bucket alone."""


def permitted(deployment: Deployment, role_arn: str) -> set[tuple[str, str]]:
    """Return each action that a role may take, with its resource."""
    statements = deployment.statements(role_arn)
    assert {statement["Effect"] for statement in statements} == {"Allow"}
    return {
        (action, resource)
        for statement in statements
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def of_function(deployment: Deployment, name: str) -> set[tuple[str, str]]:
    return permitted(deployment, deployment.function(name)["Role"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_puts_objects_under_its_own_prefixes_alone(deployment: Deployment, name: str) -> None:
    wanted = {
        f"arn:aws:s3:::{deployment.bucket(bucket)}/{prefix}"
        for bucket, _, prefix in (place.partition("/") for place in WRITES.get(name, {"staging/batches/*"}))
    }

    assert {resource for action, resource in of_function(deployment, name) if action == "s3:PutObject"} == wanted


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_deletes_nothing_changes_no_lock_policy_or_role_and_writes_to_its_own_log_alone(
    deployment: Deployment, name: str
) -> None:
    log = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{deployment.function(name)['FunctionName']}:*"
    for action, resource in of_function(deployment, name):
        service, _, verb = action.partition(":")
        assert service in {"s3", "kms", "logs", "sqs", "states", "xray"}
        assert service == "sqs" or not verb.startswith("Delete"), action
        assert verb == "PutObject" or service != "s3" or verb.startswith(("Get", "List")), action
        assert service != "logs" or resource == log


@pytest.mark.parametrize("name", ["validate", "transform"])
def test_only_validate_and_transform_read_raw_objects(existing: Deployment, prod: Deployment, name: str) -> None:
    own, theirs = prod.bucket("raw"), f"{EXISTING['raw_bucket']}/{EXISTING['raw_prefix']}"

    assert ("s3:GetObjectVersion", f"arn:aws:s3:::{own}/*") in of_function(prod, name)
    assert ("s3:GetObjectVersion", f"arn:aws:s3:::{theirs}*") in of_function(existing, name)
    for other in set(FUNCTIONS) - {"validate", "transform"}:
        assert not [resource for _, resource in of_function(prod, other) if own in resource]
        assert not [resource for _, resource in of_function(existing, other) if EXISTING["raw_bucket"] in resource]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_uses_a_key_only_through_a_service(deployment: Deployment, name: str) -> None:
    of_keys = [
        statement
        for statement in deployment.statements(deployment.function(name)["Role"])
        if listed(statement["Action"])[0].startswith("kms:")
    ]
    through = {f"{service}.{REGION}.amazonaws.com" for service in ("s3", "sqs")}

    assert of_keys
    for statement in of_keys:
        assert statement["Condition"]["StringEquals"].keys() == {"kms:ViaService"}
        assert statement["Condition"]["StringEquals"]["kms:ViaService"] in through
        assert set(listed(statement["Action"])) <= {"kms:Decrypt", "kms:GenerateDataKey"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_lists_in_the_audit_bucket_only_where_it_writes(deployment: Deployment, name: str) -> None:
    audit = f"arn:aws:s3:::{deployment.bucket('audit')}"
    prefixes = {
        statement["Condition"]["StringLike"]["s3:prefix"]
        for statement in deployment.statements(deployment.function(name)["Role"])
        if "s3:ListBucket" in listed(statement["Action"]) and audit in listed(statement["Resource"])
    }

    assert {f"audit/{prefix}" for prefix in prefixes} <= WRITES.get(name, set())


def test_no_two_functions_or_machines_share_a_role(deployment: Deployment) -> None:
    assert len(set(roles(deployment))) == len(FUNCTIONS) + 2


def roles(deployment: Deployment) -> list[str]:
    functions = [deployment.function(name)["Role"] for name in FUNCTIONS]
    return [*functions, *(deployment.machine(name)["RoleArn"] for name in ("pipeline", "bulk"))]


OF_A_BATCH = {*(step.lower() for step in STEPS), "dead-letter"}


@pytest.mark.parametrize(("machine", "functions"), [("pipeline", OF_A_BATCH), ("bulk", OF_A_BATCH | {"summarize"})])
def test_a_state_machine_calls_its_functions_and_looks_after_its_own_chunks(
    deployment: Deployment, machine: str, functions: set[str]
) -> None:
    allowed = permitted(deployment, deployment.machine(machine)["RoleArn"])
    calls = {
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:custody-{deployment.env}-{name}")
        for name in functions
    }

    assert {(action, resource) for action, resource in allowed if action not in WITHOUT_RESOURCES} == (
        calls | (on_chunks(deployment) if machine == "bulk" else set())
    )


def on_chunks(deployment: Deployment) -> set[tuple[str, str]]:
    """Return what https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html asks for."""
    states, name = f"arn:aws:states:{REGION}:{ACCOUNT}", f"custody-{deployment.env}-bulk"
    of_chunks = f"{states}:execution:{name}/ProcessChunks:*"
    return {
        *((f"states:{action}", of_chunks) for action in ("DescribeExecution", "StopExecution", "RedriveExecution")),
        *((f"states:{action}", f"{states}:execution:{name}:*") for action in ("DescribeExecution", "StopExecution")),
        ("states:StartExecution", f"{states}:stateMachine:{name}"),
    }


@pytest.mark.parametrize(("machine", "suffix"), [("pipeline", ""), ("bulk", "*")])
def test_only_a_state_machine_and_its_chunks_can_assume_its_role(
    deployment: Deployment, machine: str, suffix: str
) -> None:
    role = deployment.machine(machine)["RoleArn"].rpartition("/")[2]
    (trust,) = deployment.of_type("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:custody-{deployment.env}-{machine}"

    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert trust["Condition"]["ArnLike"]["aws:SourceArn"] == f"{arn}{suffix}"


def test_no_role_has_a_wildcard_beyond_tracing_log_delivery_and_key_prefixes(deployment: Deployment) -> None:
    for action, resource in (pair for role in roles(deployment) for pair in permitted(deployment, role)):
        assert "*" not in action
        if resource == "*":
            assert action in WITHOUT_RESOURCES
        else:
            service = resource.split(":")[2]
            assert service in {"s3", "logs", "states"} or "*" not in resource
            assert "*" not in resource.removesuffix("/*" if service == "s3" else ":*").removesuffix("/*")


def test_resource_policies_admit_named_services_of_this_account_alone(deployment: Deployment) -> None:
    for statement in _allowed_by_resources(deployment):
        principal = statement["Principal"]
        if principal in _OWN:
            continue
        assert set(principal) == {"Service"}
        # The policies of the queues name the rules.
        is_key_for_queues = principal == {"Service": "events.amazonaws.com"} and "kms:Decrypt" in statement["Action"]
        assert is_key_for_queues or ACCOUNT in str(statement["Condition"]), statement


_OWN = (
    {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    # In dev, CDK's own function that empties buckets before they are deleted.
    {"AWS": f"arn:aws:iam::{ACCOUNT}:role/CustomS3AutoDeleteObjectsCustomResourceProviderRole3B1BD092"},
)


def _allowed_by_resources(deployment: Deployment) -> Iterator[dict[str, Any]]:
    kinds = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
    documents = [each["PolicyDocument"] for kind in kinds for each in deployment.of_type(kind).values()]
    documents += [each["KeyPolicy"] for each in deployment.of_type("AWS::KMS::Key").values()]
    for document in documents:
        yield from (statement for statement in document["Statement"] if statement["Effect"] == "Allow")


def test_the_key_rotates_and_serves_only_services_that_use_it_for_this_account(deployment: Deployment) -> None:
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    owner, *statements = key["KeyPolicy"]["Statement"]
    logs = {"kms:Decrypt", "kms:Describe*", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"}
    expected = {
        f"logs.{REGION}": logs,
        "cloudwatch": {"kms:Decrypt", "kms:GenerateDataKey*"},
        "events": {"kms:Decrypt", "kms:GenerateDataKey"},
        **(
            {"s3": {"kms:Decrypt", "kms:GenerateDataKey"}} if deployment.is_buffered and not deployment.arrivals else {}
        ),
    }

    assert owner["Principal"] in _OWN
    assert {service(each): set(listed(each["Action"])) for each in statements} == expected
    conditions = {service(each): each.get("Condition") for each in statements}
    of_logs = conditions.pop(f"logs.{REGION}")
    assert of_logs is not None
    assert conditions.pop("events") is None, "AWS documents no condition for keys of queues"
    assert list(conditions.values()) == [{"StringEquals": {"aws:SourceAccount": ACCOUNT}}] * len(conditions)
    groups = of_logs["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    for name in deployment.of_type("AWS::Logs::LogGroup"):
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{name}"
        assert any(arn.startswith(group.removesuffix("*")) for group in groups)
    assert key["EnableKeyRotation"] is True
    assert f"alias/custody-{deployment.env}" in deployment.of_type("AWS::KMS::Alias")


def service(statement: dict[str, Any]) -> str:
    (name,) = statement["Principal"].values()
    return str(name).removesuffix(".amazonaws.com")


def senders(deployment: Deployment) -> dict[str, tuple[str, str]]:
    """Return the service and the source that sends to each queue, and to each function called from outside."""
    rule = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/custody-{deployment.env}"
    raw = ("s3", f"arn:aws:s3:::{deployment.bucket('raw')}")
    ends, arrivals = ("events", f"{rule}-ends"), ("events", f"{rule}-arrivals")
    return {
        "dead-letter": ends,
        "dead-letter-dlq": ends,
        deployment.buffer if deployment.is_buffered else "start": arrivals if deployment.arrivals else raw,
        **({"start-dlq": arrivals} if deployment.arrivals else {}),
    }


def test_only_its_source_may_send_to_a_queue_or_call_a_function(deployment: Deployment) -> None:
    prefix = f"custody-{deployment.env}-"
    allowed = {}
    for statement in deployment.policy("AWS::SQS::QueuePolicy"):
        if statement["Effect"] == "Allow":
            queue, condition = statement["Resource"].rpartition(":")[2].removeprefix(prefix), statement["Condition"]
            assert statement["Action"] == "sqs:SendMessage"
            allowed[queue] = (service(statement), condition["ArnEquals"]["aws:SourceArn"])
            assert condition.get("StringEquals") == (
                {"aws:SourceAccount": ACCOUNT} if allowed[queue][0] == "s3" else None
            )
    for permission in deployment.of_type("AWS::Lambda::Permission").values():
        name, source = permission["FunctionName"].rpartition(prefix)[2], permission["Principal"].partition(".")[0]
        assert permission["Action"] == "lambda:InvokeFunction"
        assert permission.get("SourceAccount") == (ACCOUNT if source == "s3" else None)
        allowed[name] = (source, permission["SourceArn"])

    assert allowed == senders(deployment)


def test_queues_and_the_topic_require_tls(deployment: Deployment) -> None:
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        conditions = [
            statement.get("Condition") for statement in deployment.policy(kind) if statement["Effect"] == "Deny"
        ]
        assert conditions == [{"Bool": {"aws:SecureTransport": "false"}}] * len(deployment.of_type(kind))
