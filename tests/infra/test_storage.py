"""The buckets: encrypted, closed, versioned, and kept as long as they should be."""

from typing import Any

import pytest

from tests.support.template import ACCOUNT, Deployment, listed

DATA_BUCKETS = ("raw", "staging", "processed", "audit")
ALL = (*DATA_BUCKETS, "access-logs")


@pytest.fixture(params=("prod", "dev", "local", "buffered"))
def deployment(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    """Return each variant with a raw bucket of its own in turn; test_existing_bucket.py covers the others."""
    return deployments[request.param]


def properties(deployment: Deployment, bucket: str) -> dict[str, Any]:
    return deployment.of_type("AWS::S3::Bucket")[deployment.bucket(bucket)]


def policy(deployment: Deployment, bucket: str) -> list[dict[str, Any]]:
    return deployment.policy("AWS::S3::BucketPolicy", Bucket=deployment.bucket(bucket))


def test_the_stack_has_these_buckets(deployment: Deployment) -> None:
    assert set(deployment.of_type("AWS::S3::Bucket")) == {deployment.bucket(bucket) for bucket in ALL}


@pytest.mark.parametrize("bucket", DATA_BUCKETS)
def test_a_bucket_is_encrypted_with_the_key_and_keeps_every_version(deployment: Deployment, bucket: str) -> None:
    assert properties(deployment, bucket)["VersioningConfiguration"] == {"Status": "Enabled"}
    assert properties(deployment, bucket)["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
        {
            "BucketKeyEnabled": True,
            "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": deployment.key},
        }
    ]


@pytest.mark.parametrize("bucket", ALL)
def test_a_bucket_is_private_without_acls_and_abandons_no_uploads(deployment: Deployment, bucket: str) -> None:
    configuration = properties(deployment, bucket)
    rules = configuration["LifecycleConfiguration"]["Rules"]

    assert set(configuration["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(configuration["PublicAccessBlockConfiguration"]) == 4
    assert configuration["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert any(rule.get("AbortIncompleteMultipartUpload") == {"DaysAfterInitiation": 7} for rule in rules)


@pytest.mark.parametrize("bucket", ALL)
def test_a_bucket_requires_tls_1_2(deployment: Deployment, bucket: str) -> None:
    arn = f"arn:aws:s3:::{deployment.bucket(bucket)}"
    refusals = [
        statement["Condition"]
        for statement in policy(deployment, bucket)
        if statement["Effect"] == "Deny"
        and statement["Action"] == "s3:*"
        and statement["Principal"] == {"AWS": "*"}
        and statement["Resource"] == [arn, f"{arn}/*"]
    ]

    assert {"Bool": {"aws:SecureTransport": "false"}} in refusals
    assert {"NumericLessThan": {"s3:TlsVersion": 1.2}} in refusals


OTHER_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/other"
ALGORITHM = "s3:x-amz-server-side-encryption"
KEY = "s3:x-amz-server-side-encryption-aws-kms-key-id"
CUSTOMER = "s3:x-amz-server-side-encryption-customer-algorithm"


@pytest.mark.parametrize("bucket", DATA_BUCKETS)
@pytest.mark.parametrize(
    ("asks_for", "refused"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({ALGORITHM: "aws:kms", KEY: "ours"}, False, id="our key"),
        pytest.param({ALGORITHM: "aws:kms", KEY: OTHER_KEY}, True, id="another key"),
        pytest.param({ALGORITHM: "aws:kms"}, True, id="the key of S3"),
        pytest.param({ALGORITHM: "AES256"}, True, id="SSE-S3"),
        pytest.param({ALGORITHM: "aws:kms:dsse", KEY: "ours"}, True, id="DSSE"),
        pytest.param({CUSTOMER: "AES256"}, True, id="SSE-C"),
    ],
)
def test_a_put_that_requests_another_encryption_is_denied(
    prod: Deployment, bucket: str, asks_for: dict[str, str], *, refused: bool
) -> None:
    request = {name: prod.key if value == "ours" else value for name, value in asks_for.items()}

    assert any(_denies_put(statement, request) for statement in policy(prod, bucket)) is refused


def _denies_put(statement: dict[str, Any], request: dict[str, str]) -> bool:
    """Decide as IAM does: all conditions must hold, and a negated one holds for an absent key."""
    if statement["Effect"] != "Deny" or statement["Action"] != "s3:PutObject":
        return False
    operators = {
        "Null": lambda given, wanted: str(given is None).lower() == wanted,
        "StringEquals": lambda given, wanted: given == wanted,
        "StringNotEquals": lambda given, wanted: given != wanted,
    }
    return all(
        operators[operator](request.get(key), wanted)
        for operator, keys in statement["Condition"].items()
        for key, wanted in keys.items()
    )


def test_each_delivery_sends_an_event_to_eventbridge(deployment: Deployment) -> None:
    configuration = {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}

    assert properties(deployment, "processed")["NotificationConfiguration"] == configuration


def test_only_the_audit_bucket_of_prod_is_locked(deployment: Deployment) -> None:
    locks = {bucket: properties(deployment, bucket).get("ObjectLockConfiguration") for bucket in ALL}
    locked = {bucket: lock["Rule"]["DefaultRetention"] for bucket, lock in locks.items() if lock}

    assert locked == ({"audit": {"Mode": "GOVERNANCE", "Days": 365}} if deployment.env == "prod" else {})


def test_only_staged_batches_expire_each_version_after_its_full_time(deployment: Deployment) -> None:
    expiry = {"ExpirationInDays": 21, "NoncurrentVersionExpiration": {"NoncurrentDays": 21}}
    rules = properties(deployment, "staging")["LifecycleConfiguration"]["Rules"]

    assert {"Id": "expire", "Status": "Enabled", **expiry} in rules
    assert {"Id": "delete-markers", "Status": "Enabled", "ExpiredObjectDeleteMarker": True} in rules
    for bucket in ("raw", "processed", "audit"):
        (rule,) = properties(deployment, bucket)["LifecycleConfiguration"]["Rules"]
        assert set(rule) == {"Id", "Status", "AbortIncompleteMultipartUpload"}


@pytest.mark.parametrize("bucket", DATA_BUCKETS)
def test_access_to_a_bucket_is_logged(deployment: Deployment, bucket: str) -> None:
    logs = deployment.bucket("access-logs")
    delivery = [
        statement
        for statement in policy(deployment, "access-logs")
        if statement["Resource"] == f"arn:aws:s3:::{logs}/{bucket}/*"
    ]

    assert properties(deployment, bucket)["LoggingConfiguration"] == {
        "DestinationBucketName": logs,
        "LogFilePrefix": f"{bucket}/",
    }
    assert [(s["Effect"], s["Principal"], listed(s["Action"])) for s in delivery] == [
        ("Allow", {"Service": "logging.s3.amazonaws.com"}, ["s3:PutObject"])
    ]
    assert delivery[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}


def test_access_logs_expire_and_use_the_encryption_that_log_delivery_supports(deployment: Deployment) -> None:
    logs = properties(deployment, "access-logs")

    assert logs["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 90
    assert logs["BucketEncryption"]["ServerSideEncryptionConfiguration"] == [
        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    ]
