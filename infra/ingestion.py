"""From the raw bucket to the state machine: events, the start function, and the queue for what it could not start."""

from typing import cast

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.failures import FailureQueue
from infra.functions import Platform, Stage
from infra.storage import bucket_name


class Ingestion(Construct):
    """Calls `start` for each new object version; an event that fails for good waits in the undelivered queue."""

    def __init__(
        self, scope: Construct, construct_id: str, *, platform: Platform, raw: s3.Bucket, pipeline_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        self.start = Stage(
            self,
            "start",
            platform=platform,
            environment={"PIPELINE_ARN": pipeline_arn},
            may=[iam.PolicyStatement(actions=["states:StartExecution"], resources=[pipeline_arn])],
        )
        self.undelivered = FailureQueue(self, "Undelivered", name="undelivered", stage=self.start, platform=platform)
        self._announce(raw, bucket_name(platform.settings, "raw"), self.start.function)

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
