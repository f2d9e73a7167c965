"""The buckets: raw, staging, processed and audit, and one for their access logs."""

from typing import Any, cast

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.settings import Settings

TLS = 1.2
ABANDONED_UPLOAD = Duration.days(7)


class Storage(Construct):
    """Raw, staging, processed and audit with the customer key; access logs with S3's own, as log delivery requires.

    An existing raw bucket is only referenced: its owner decides on encryption, retention and logging. `raw_key` is its
    key, or None; objects outside `raw_prefix` are not ours.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, key: kms.IKey, removal: RemovalPolicy
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._key = key
        self._removal = removal
        self.access_logs = self._access_logs()
        # Prod keeps its own bucket beside an existing one: if it were only retained, switching back would fail.
        own_raw = self._bucket("Raw") if settings.keeps_data or not settings.raw_bucket else None
        self.own_raw = None if settings.raw_bucket else own_raw
        self.raw = self.own_raw or s3.Bucket.from_bucket_name(self, "ExistingRaw", str(settings.raw_bucket))
        self.raw_prefix = settings.raw_prefix
        self.raw_key = kms.Key.from_key_arn(self, "RawKey", settings.raw_key_arn) if settings.raw_key_arn else None
        self.staging = self._bucket("Staging", expire_days=settings.staging_days)
        self.processed = self._bucket("Processed")
        _notify_event_bridge(self.processed)
        self.audit = self._bucket("Audit", lock=_lock(settings))

    def _bucket(
        self, name: str, *, expire_days: int | None = None, lock: s3.ObjectLockRetention | None = None
    ) -> s3.Bucket:
        # CloudFormation cannot delete a bucket that holds locked objects.
        removal = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE if lock else self._removal
        bucket = s3.Bucket(
            self,
            name,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self._key,
            bucket_key_enabled=True,
            versioned=True,
            object_lock_enabled=True if lock else None,
            object_lock_default_retention=lock,
            server_access_logs_bucket=self.access_logs,
            server_access_logs_prefix=f"{name.lower()}/",
            lifecycle_rules=_lifecycle(expire_days),
            **self._common(name.lower(), removal),
        )
        for statement in _refuse_other_encryption(bucket, self._key):
            bucket.add_to_resource_policy(statement)
        return bucket

    def _access_logs(self) -> s3.Bucket:
        return s3.Bucket(
            self,
            "AccessLogs",
            # Log delivery writes to neither SSE-KMS with a customer key nor Object Lock
            # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html).
            encryption=s3.BucketEncryption.S3_MANAGED,
            # Not versioned: S3 gives each log a unique name, and nobody else may write here.
            lifecycle_rules=[
                s3.LifecycleRule(
                    id="expire",
                    expiration=Duration.days(self._settings.access_log_days),
                    abort_incomplete_multipart_upload_after=ABANDONED_UPLOAD,
                )
            ],
            **self._common("access-logs", self._removal),
        )

    def _common(self, name: str, removal: RemovalPolicy) -> dict[str, Any]:
        return {
            **(
                {
                    "bucket_name_prefix": self._settings.name(name),
                    "bucket_namespace": s3.BucketNamespace.ACCOUNT_REGIONAL,
                }
                if self._settings.bucket_namespace == "account"
                else {"bucket_name": bucket_name(self._settings, name)}
            ),
            "enforce_ssl": True,
            "minimum_tls_version": TLS,
            "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
            "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            "removal_policy": removal,
            # Embedded AWS is deleted as a whole, and needs no function that empties buckets.
            "auto_delete_objects": True if removal is RemovalPolicy.DESTROY and not self._settings.local else None,
        }


def bucket_name(settings: Settings, bucket: str) -> str:
    """Name a bucket, so that functions can refer to it without a dependency on it.

    In the namespace of the account, CloudFormation appends all but the prefix
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/gpbucketnamespaces.html).
    """
    name = f"{settings.name(bucket)}-{Aws.ACCOUNT_ID}-{Aws.REGION}"
    return f"{name}-an" if settings.bucket_namespace == "account" else name


def _notify_event_bridge(bucket: s3.Bucket) -> None:
    """Send an event of each new version to EventBridge, for the rules of consumers: docs/consuming.md.

    CDK's `event_bridge_enabled` would add a function to the stack.
    """
    event_bridge = s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
    configuration = s3.CfnBucket.NotificationConfigurationProperty(event_bridge_configuration=event_bridge)
    cast("s3.CfnBucket", bucket.node.default_child).notification_configuration = configuration


def _lock(settings: Settings) -> s3.ObjectLockRetention | None:
    locks = {"governance": s3.ObjectLockRetention.governance, "compliance": s3.ObjectLockRetention.compliance}
    return locks[settings.lock_mode](Duration.days(settings.audit_lock_days)) if settings.lock_mode else None


def _lifecycle(expire_days: int | None) -> list[s3.LifecycleRule]:
    rules = [s3.LifecycleRule(id="abandoned-uploads", abort_incomplete_multipart_upload_after=ABANDONED_UPLOAD)]
    if expire_days is None:
        return rules
    kept = Duration.days(expire_days)
    return [
        *rules,
        # Messages name exact versions, and a redrive may need a noncurrent one: each is kept for the full time.
        s3.LifecycleRule(id="expire", expiration=kept, noncurrent_version_expiration=kept),
        s3.LifecycleRule(id="delete-markers", expired_object_delete_marker=True),
    ]


def _refuse_other_encryption(bucket: s3.Bucket, key: kms.IKey) -> list[iam.PolicyStatement]:
    """Deny a PutObject that requests another encryption than the bucket's own, which is the default.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
    """
    algorithm = "s3:x-amz-server-side-encryption"
    key_id = "s3:x-amz-server-side-encryption-aws-kms-key-id"
    refused = {
        "RefuseOtherAlgorithms": {"Null": {algorithm: "false"}, "StringNotEquals": {algorithm: "aws:kms"}},
        # A negated condition also holds for a request without a key, for which S3 would use a key of its own
        # (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html).
        "RefuseOtherKeys": {
            "StringEquals": {algorithm: "aws:kms"},
            "StringNotEquals": {key_id: key.key_arn},
        },
        "RefuseCustomerKeys": {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}},
    }
    return [
        iam.PolicyStatement(
            sid=sid,
            effect=iam.Effect.DENY,
            principals=[iam.AnyPrincipal()],
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects("*")],
            conditions=conditions,
        )
        for sid, conditions in refused.items()
    ]
