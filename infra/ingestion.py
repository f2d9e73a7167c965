"""From the raw bucket to the state machine: events, the start function, and the queue for what it could not start."""

from typing import cast

from aws_cdk import Acknowledgment, Aws, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.functions import Platform, Stage
from infra.permissions import on_key
from infra.storage import bucket_name

RETRIES = 2
LONGEST_WAIT = Duration.hours(6)


class Ingestion(Construct):
    """Calls `start` for each new object version; an event that fails for good waits in the undelivered queue."""

    def __init__(
        self, scope: Construct, construct_id: str, *, platform: Platform, raw: s3.Bucket, pipeline_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.undelivered = sqs.Queue(
            self,
            "Undelivered",
            queue_name=platform.settings.name("undelivered"),
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=platform.key,
            enforce_ssl=True,
            removal_policy=platform.removal,
        )
        Validations.of(self.undelivered).acknowledge(
            Acknowledgment(
                id="AwsSolutions-SQS3",
                reason="This queue is where the events go that could not be handled: it is a dead-letter queue itself.",
            )
        )
        self.start = Stage(
            self,
            "start",
            platform=platform,
            environment={"PIPELINE_ARN": pipeline_arn},
            may=[
                iam.PolicyStatement(actions=["states:StartExecution"], resources=[pipeline_arn]),
                # Lambda sends to the queue as the function itself.
                iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.undelivered.queue_arn]),
                on_key(platform.key, "Decrypt", "GenerateDataKey", via="sqs"),
            ],
        )
        function = self.start.function
        lambda_.CfnEventInvokeConfig(
            self,
            "Delivery",
            function_name=function.function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=RETRIES,
            maximum_event_age_in_seconds=LONGEST_WAIT.to_seconds(),
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=self.undelivered.queue_arn)
            ),
        )
        self._announce(raw, bucket_name(platform.settings, "raw"), function)

    def _announce(self, raw: s3.Bucket, name: str, function: lambda_.Function) -> None:
        """Send the bucket's events to the function, natively.

        CDK's `add_event_notification` would add a function of its own to the stack, because a bucket and its permission
        usually need one another's names. This bucket's name is known beforehand.
        """
        permission = lambda_.CfnPermission(
            self,
            "MayCallStart",
            action="lambda:InvokeFunction",
            function_name=function.function_arn,
            principal="s3.amazonaws.com",
            source_account=Aws.ACCOUNT_ID,
            source_arn=f"arn:{Aws.PARTITION}:s3:::{name}",
        )
        bucket = cast("s3.CfnBucket", raw.node.default_child)
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            lambda_configurations=[
                s3.CfnBucket.LambdaConfigurationProperty(event="s3:ObjectCreated:*", function=function.function_arn)
            ]
        )
        bucket.add_resource_dependency(permission)  # S3 tries the destination out when the bucket is made
