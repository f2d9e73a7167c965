"""Who may do what: the roles as a table, and no `*` beyond the named exceptions."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.settings import FUNCTIONS
from tests.infra.conftest import THEIRS
from tests.support.steps import STEPS
from tests.support.template import REGION, SUMMARIZE, Deployment, listed

TRACING = {("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")}
LOG_DELIVERY = {
    (f"logs:{action}", "*")
    for action in (
        "CreateLogDelivery",
        "GetLogDelivery",
        "UpdateLogDelivery",
        "DeleteLogDelivery",
        "ListLogDeliveries",
        "PutResourcePolicy",
        "DescribeResourcePolicies",
        "DescribeLogGroups",
    )
}


def statements(deployment: Deployment, role_arn: str) -> list[dict[str, Any]]:
    """All that a role may do, wherever it is written."""
    role = role_arn.rpartition("/")[2]
    assert "Policies" not in deployment.of_type("AWS::IAM::Role")[role]
    assert "ManagedPolicyArns" not in deployment.of_type("AWS::IAM::Role")[role]
    return [
        statement
        for policy in deployment.of_type("AWS::IAM::Policy").values()
        if role in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def table(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    assert {statement["Effect"] for statement in found} == {"Allow"}
    return {
        (action, resource)
        for statement in found
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    }


def expected(deployment: Deployment) -> dict[str, set[tuple[str, str]]]:
    def objects(bucket: str, prefix: str) -> str:
        return f"arn:aws:s3:::{deployment.bucket(bucket)}/{prefix}"

    machines = f"arn:aws:states:{REGION}:{SUMMARIZE}:stateMachine:custody-{deployment.env}"
    queue = f"arn:aws:sqs:{REGION}:{SUMMARIZE}:custody-{deployment.env}"
    receive = ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    events = {("sqs:SendMessage", f"{queue}-start-dlq")}
    if deployment.is_buffered:
        events = {(f"sqs:{action}", f"{queue}-buffer") for action in receive}
    read_raw = {("s3:GetObjectVersion", objects("raw", "*"))}
    if deployment.arrivals:
        read_raw = {
            ("s3:GetObjectVersion", f"arn:aws:s3:::{THEIRS['raw_bucket']}/{THEIRS['raw_prefix']}*"),
            ("kms:Decrypt", THEIRS["raw_key_arn"]),
        }
    executions = f"arn:aws:states:{REGION}:{SUMMARIZE}:execution:custody-{deployment.env}"
    read_batches = {
        ("s3:ListBucket", f"arn:aws:s3:::{deployment.bucket('staging')}"),
        ("s3:GetObject", objects("staging", "batches/*")),
        ("s3:GetObjectVersion", objects("staging", "batches/*")),
    }
    put_batches = {("s3:PutObject", objects("staging", "batches/*"))}
    close = {("s3:PutObject", objects("audit", "ledger/*")), ("s3:GetObject", objects("audit", "ledger/*"))}
    commit = close | {("s3:PutObject", objects("audit", "dead-letters/*"))}
    list_audit = {("s3:ListBucket", f"arn:aws:s3:::{deployment.bucket('audit')}")}
    learn = list_audit | {
        (f"states:{action}", f"{executions}-{name}:*")
        for action in ("DescribeExecution", "GetExecutionHistory")
        for name in ("pipeline", "bulk")
    }
    return {
        "start": {("states:StartExecution", f"{machines}-{name}") for name in ("pipeline", "bulk")} | events,
        "validate": read_raw | put_batches,
        # What Validate has read and found good, Transform reads where it lies.
        "transform": read_raw | read_batches | put_batches,
        "write": read_batches
        | {("s3:PutObject", objects("processed", "*"))}
        | {("s3:ListBucket", f"arn:aws:s3:::{deployment.bucket(bucket)}") for bucket in ("processed", "audit")}
        | commit,
        "summarize": list_audit | close,
        "dead_letter": read_batches | commit | learn | {("sqs:SendMessage", f"{queue}-dead-letter-dlq")},
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_may_do_its_task_and_write_its_own_log(deployment: Deployment, name: str) -> None:
    permitted = expected(deployment)
    assert name in permitted, f"say in tests/infra/test_permissions.py what the function {name} may do"
    function = deployment.function(name)
    log = f"arn:aws:logs:{REGION}:{SUMMARIZE}:log-group:/aws/lambda/{function['FunctionName']}:*"
    # A function that only receives messages encrypts nothing.
    uses = ("Decrypt",) if name == "start" and deployment.is_buffered else ("Decrypt", "GenerateDataKey")
    key = {(f"kms:{use}", deployment.key) for use in uses}

    assert table(statements(deployment, function["Role"])) == (
        permitted[name] | key | TRACING | {("logs:CreateLogStream", log), ("logs:PutLogEvents", log)}
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_key_only_through_the_service_that_it_uses(deployment: Deployment, name: str) -> None:
    services = {"start": ["sqs"], "dead_letter": ["s3", "sqs"]}.get(name, ["s3"])
    of_key = [
        statement
        for statement in statements(deployment, deployment.function(name)["Role"])
        if listed(statement["Action"])[0].startswith("kms:")
    ]
    if deployment.arrivals and name in {"validate", "transform"}:
        services = [*services, "s3"]

    assert [statement["Condition"] for statement in of_key] == [
        {"StringEquals": {"kms:ViaService": f"{service}.{REGION}.amazonaws.com"}} for service in services
    ]


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [("dead_letter", ["dead-letters/*", "ledger/*"]), ("write", ["ledger/*"]), ("summarize", ["ledger/*"])],
)
def test_a_function_lists_what_it_writes_in_the_audit_bucket_and_no_more(
    deployment: Deployment, name: str, prefixes: list[str]
) -> None:
    audit = f"arn:aws:s3:::{deployment.bucket('audit')}"
    conditions = [
        statement["Condition"]
        for statement in statements(deployment, deployment.function(name)["Role"])
        if statement["Action"] == "s3:ListBucket" and statement["Resource"] == audit
    ]

    assert conditions == [{"StringLike": {"s3:prefix": prefix}} for prefix in prefixes]


def test_no_two_functions_share_a_role(deployment: Deployment) -> None:
    assert len({deployment.function(name)["Role"] for name in FUNCTIONS}) == len(FUNCTIONS)


OF_A_BATCH = (*(step.lower() for step in STEPS), "dead-letter")


@pytest.mark.parametrize(("machine", "functions"), [("pipeline", OF_A_BATCH), ("bulk", (*OF_A_BATCH, "summarize"))])
def test_a_state_machine_may_call_its_functions_and_be_observed(
    deployment: Deployment, machine: str, functions: tuple[str, ...]
) -> None:
    sampling = {("xray:GetSamplingRules", "*"), ("xray:GetSamplingTargets", "*")}
    calls = {
        ("lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{SUMMARIZE}:function:custody-{deployment.env}-{name}")
        for name in functions
    }
    chunks = on_chunks(deployment) if machine == "bulk" else set()

    assert table(statements(deployment, deployment.machine(machine)["RoleArn"])) == (
        calls | chunks | TRACING | sampling | LOG_DELIVERY
    )


def on_chunks(deployment: Deployment) -> set[tuple[str, str]]:
    """Tell what https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html asks for."""
    states, name = f"arn:aws:states:{REGION}:{SUMMARIZE}", f"custody-{deployment.env}-bulk"
    of_chunks = f"{states}:execution:{name}/ProcessChunks:*"
    looking = {
        (f"states:{action}", resource)
        for action in ("DescribeExecution", "StopExecution")
        for resource in (f"{states}:execution:{name}:*", of_chunks)
    }
    return looking | {
        ("states:StartExecution", f"{states}:stateMachine:{name}"),
        ("states:RedriveExecution", of_chunks),
    }


@pytest.mark.parametrize(("machine", "suffixes"), [("pipeline", [""]), ("bulk", ["", "/ProcessChunks"])])
def test_only_a_state_machine_itself_and_its_chunks_can_have_its_role_taken(
    deployment: Deployment, machine: str, suffixes: list[str]
) -> None:
    role = deployment.machine(machine)["RoleArn"].rpartition("/")[2]
    (trust,) = deployment.of_type("AWS::IAM::Role")[role]["AssumeRolePolicyDocument"]["Statement"]
    arn = f"arn:aws:states:{REGION}:{SUMMARIZE}:stateMachine:custody-{deployment.env}-{machine}"

    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": SUMMARIZE}
    assert listed(trust["Condition"]["ArnLike"]["aws:SourceArn"]) == [f"{arn}{suffix}" for suffix in suffixes]


def test_no_two_machines_share_a_role(deployment: Deployment) -> None:
    assert deployment.machine("pipeline")["RoleArn"] != deployment.machine("bulk")["RoleArn"]


def test_no_role_has_a_wildcard_beyond_tracing_log_delivery_and_key_prefixes(deployment: Deployment) -> None:
    without_resources = TRACING | LOG_DELIVERY | {("xray:GetSamplingRules", "*"), ("xray:GetSamplingTargets", "*")}
    checked = 0
    for policy in deployment.of_type("AWS::IAM::Policy").values():
        for action, resource in table(policy["PolicyDocument"]["Statement"]):
            checked += 1
            assert "*" not in action
            if (action, resource) in without_resources:
                continue
            service = resource.split(":")[2]
            assert service in {"s3", "logs", "states"} or "*" not in resource
            assert "*" not in resource.removesuffix("/*" if service == "s3" else ":*")
    assert checked > 50


def test_nobody_is_let_in_by_a_resource_policy_but_named_services_of_this_account(deployment: Deployment) -> None:
    for statement in _allowed_by_resources(deployment):
        principal = statement["Principal"]
        if principal in _OWN:
            continue
        assert set(principal) == {"Service"}
        condition = statement["Condition"]
        assert SUMMARIZE in str(condition), statement


_OWN = (
    {"AWS": f"arn:aws:iam::{SUMMARIZE}:root"},
    # In dev, CDK's own function that empties buckets before they are deleted.
    {"AWS": f"arn:aws:iam::{SUMMARIZE}:role/CustomS3AutoDeleteObjectsCustomResourceProviderRole3B1BD092"},
)


def _allowed_by_resources(deployment: Deployment) -> Iterator[dict[str, Any]]:
    kinds = ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
    documents = [found["PolicyDocument"] for kind in kinds for found in deployment.of_type(kind).values()]
    documents += [found["KeyPolicy"] for found in deployment.of_type("AWS::KMS::Key").values()]
    for document in documents:
        yield from (statement for statement in document["Statement"] if statement["Effect"] == "Allow")


def test_logs_may_use_the_key_for_our_log_groups_alone(deployment: Deployment) -> None:
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    (statement,) = (found for found in key["KeyPolicy"]["Statement"] if found.get("Sid") == "CloudWatchLogs")
    groups = statement["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]

    assert statement["Principal"] == {"Service": f"logs.{REGION}.amazonaws.com"}
    for name in deployment.of_type("AWS::Logs::LogGroup"):
        arn = f"arn:aws:logs:{REGION}:{SUMMARIZE}:log-group:{name}"
        assert any(arn.startswith(group.removesuffix("*")) for group in groups)


def test_the_key_rotates(deployment: Deployment) -> None:
    (key,) = deployment.of_type("AWS::KMS::Key").values()

    assert key["EnableKeyRotation"] is True
    assert f"alias/custody-{deployment.env}" in deployment.of_type("AWS::KMS::Alias")


def permission_to_call(deployment: Deployment, function: str) -> dict[str, Any]:
    arn = f"arn:aws:lambda:{REGION}:{SUMMARIZE}:function:custody-{deployment.env}-{function}"
    permissions = deployment.of_type("AWS::Lambda::Permission").values()
    (permission,) = (found for found in permissions if found["FunctionName"] == arn)
    return permission


def test_nothing_else_is_called_from_outside(deployment: Deployment) -> None:
    assert len(deployment.of_type("AWS::Lambda::Permission")) == (1 if deployment.is_buffered else 2)


def test_the_rule_alone_may_call_the_dead_letter_function(deployment: Deployment) -> None:
    permission = permission_to_call(deployment, "dead-letter")

    assert permission["Principal"] == "events.amazonaws.com"
    assert permission["SourceArn"] == f"arn:aws:events:{REGION}:{SUMMARIZE}:rule/custody-{deployment.env}-ends"


def test_events_may_use_the_key_for_the_queue_of_what_cannot_be_delivered(deployment: Deployment) -> None:
    (key,) = deployment.of_type("AWS::KMS::Key").values()
    (statement,) = (found for found in key["KeyPolicy"]["Statement"] if found.get("Sid") == "EventBridge")

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": SUMMARIZE}}


def test_queue_and_topic_refuse_all_but_tls(deployment: Deployment) -> None:
    for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"):
        conditions = [
            statement.get("Condition") for statement in deployment.policy(kind) if statement["Effect"] == "Deny"
        ]
        assert conditions == [{"Bool": {"aws:SecureTransport": "false"}}] * len(deployment.of_type(kind))
