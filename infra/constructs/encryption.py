"""The one customer key, and who besides the account may use it."""

from aws_cdk import Aws, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.settings import Settings


class Encryption(Construct):
    """The key of every bucket, log group, queue, topic and function environment.

    The default key policy lets the account's own IAM policies decide. AWS services that act for nobody in the account
    are not covered by it, so the policy names each of them.
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
        self.key.add_to_resource_policy(_for_logs(settings))
        self.key.add_to_resource_policy(_for_alarms())
        self.key.add_to_resource_policy(_for_events())
        if settings.buffered and settings.raw_bucket is None:
            self.key.add_to_resource_policy(_for_arrivals())


def _for_logs(settings: Settings) -> iam.PolicyStatement:
    """Let CloudWatch Logs use the key, for the log groups of this environment alone.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    """
    groups = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group"
    return iam.PolicyStatement(
        sid="CloudWatchLogs",
        principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
        actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
        resources=["*"],
        conditions={
            "ArnLike": {
                "kms:EncryptionContext:aws:logs:arn": [
                    f"{groups}:/aws/lambda/{settings.name('*')}",
                    f"{groups}:/aws/vendedlogs/states/{settings.name('*')}",
                ]
            }
        },
    )


def _for_alarms() -> iam.PolicyStatement:
    """Let alarms publish to an encrypted topic; without this they change state and tell nobody.

    https://repost.aws/knowledge-center/cloudwatch-configure-alarm-sns
    """
    return iam.PolicyStatement(
        sid="CloudWatchAlarms",
        principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
        actions=["kms:Decrypt", "kms:GenerateDataKey*"],
        resources=["*"],
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
    )


def _for_events() -> iam.PolicyStatement:
    """Let EventBridge put what it cannot deliver into an encrypted queue, and new objects' events into the buffer.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-troubleshooting.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html

    That EventBridge uses a key under aws:SourceAccount, AWS says of the key of an event bus
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-encryption-key-policy.html); no page was found that
    says so of the key of a queue.
    """
    return iam.PolicyStatement(
        sid="EventBridge",
        principals=[iam.ServicePrincipal("events.amazonaws.com")],
        actions=["kms:Decrypt", "kms:GenerateDataKey"],
        resources=["*"],
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
    )


def _for_arrivals() -> iam.PolicyStatement:
    """Let S3 put its events into the encrypted buffer.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
    """
    return iam.PolicyStatement(
        sid="Arrivals",
        principals=[iam.ServicePrincipal("s3.amazonaws.com")],
        actions=["kms:Decrypt", "kms:GenerateDataKey"],
        resources=["*"],
        conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
    )
