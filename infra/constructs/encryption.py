"""The customer key, and which services may use it."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.settings import Settings

DATA_KEYS = ("kms:Decrypt", "kms:GenerateDataKey")
ACCOUNT_ONLY = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}


class Encryption(Construct):
    """The key of every bucket, log group, queue, topic and function environment.

    The default key policy delegates to the IAM policies of the account. It does not cover AWS services that act for
    themselves, so each of them is named here.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, removal: RemovalPolicy) -> None:
        super().__init__(scope, construct_id)
        self.key = kms.Key(
            self,
            "Key",
            alias=f"alias/{settings.prefix}",
            description=f"Everything that Custody stores in {settings.env}.",
            enable_key_rotation=True,
            removal_policy=removal,
        )
        # Only for the log groups of this environment
        # (https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html).
        groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group"
        prefixes = [f"{groups}:{folder}/{settings.name('*')}" for folder in ("/aws/lambda", "/aws/vendedlogs/states")]
        self._permit(
            "CloudWatchLogs",
            f"logs.{Aws.REGION}.{Aws.URL_SUFFIX}",
            ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"),
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": prefixes}},
        )
        # Without this, alarms change state and notify nobody
        # (https://repost.aws/knowledge-center/cloudwatch-configure-alarm-sns).
        self._permit("CloudWatchAlarms", "cloudwatch.amazonaws.com", ("kms:Decrypt", "kms:GenerateDataKey*"))
        # For undeliverable events, and events of new objects in the buffer
        # (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html,
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html). AWS
        # documents aws:SourceAccount for keys of event buses, and not for those of queues; the policy of each queue
        # names the rule (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-key-policy.html).
        self._permit("EventBridge", "events.amazonaws.com", DATA_KEYS, {})
        if settings.buffered and settings.raw_bucket is None:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
            self._permit("Arrivals", "s3.amazonaws.com", DATA_KEYS)

    def _permit(
        self, sid: str, service: str, actions: Sequence[str], conditions: Mapping[str, Any] | None = None
    ) -> None:
        """Permit a service to use the key, for this account unless other conditions are given."""
        self.key.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal(service)],
                actions=list(actions),
                resources=["*"],
                conditions=ACCOUNT_ONLY if conditions is None else conditions,
            )
        )
