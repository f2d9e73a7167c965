"""From the raw bucket to the state machines: events, the start function, and the queue of what it could not start."""

from typing import cast

from aws_cdk import Aws, CfnResource, Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.lambda_function import Platform, Stage
from infra.constructs.permissions import admit, on_key
from infra.constructs.queues import EventQueue, FailureQueue
from infra.constructs.rules import ArrivalRule
from infra.constructs.storage import bucket_name

ARRIVALS = "s3:ObjectCreated:*"
BATCH = 10
"""Messages in a call of the start function: as many as SQS returns at once."""

RECEIVES = 100
"""Tries of a message of the buffer. Each takes six timeouts of the function, so throttling may last five hours before
somebody has to replay events. The alarm on the buffer fires within minutes."""

TIMEOUTS_HIDDEN = 6
"""Visibility timeout of a message, in timeouts of the function
(https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html)."""


class Ingestion(Construct):
    """Calls `start` for each new object version, directly or through a buffer.

    An event that fails for good waits in the start-dlq. The stack's own raw bucket sends notifications; an existing one
    sends events to EventBridge, where `arrivals` is the rule.
    """

    def __init__(  # noqa: PLR0913 - its source and its targets
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: Platform,
        own_raw: s3.Bucket | None,
        pipeline_arn: str,
        bulk_arn: str,
    ) -> None:
        super().__init__(scope, construct_id)
        settings = platform.settings
        self.start = Stage(
            self,
            "start",
            platform=platform,
            environment={
                "PIPELINE_ARN": pipeline_arn,
                "BULK_ARN": bulk_arn,
                "CHUNK_BYTES": str(settings.chunk_bytes),
                "JSON_LINES_SUFFIXES": settings.json_lines_suffixes,
                "SKIP_MARKERS": str(settings.skip_markers).lower(),
            },
            may=[iam.PolicyStatement(actions=["states:StartExecution"], resources=[pipeline_arn, bulk_arn])],
        )
        self.start_dlq = FailureQueue(self, "StartDlq", name="start-dlq", platform=platform)
        self.buffer = self._buffer(platform) if settings.buffered else None
        if not self.buffer:
            self.start_dlq.receive_failures_of(self.start, platform)
        self.arrivals = None
        if own_raw:
            self._notify(cast("s3.CfnBucket", own_raw.node.default_child), bucket_name(settings, "raw"))
        else:
            self.arrivals = ArrivalRule(
                self, "Arrivals", platform=platform, start=self.start, buffer=self.buffer, start_dlq=self.start_dlq
            )

    def _notify(self, bucket: s3.CfnBucket, name: str) -> None:
        """Have the bucket send its events.

        CDK's `add_event_notification` would add a function to the stack, because a bucket and its permission usually
        need each other's names. The name of the raw bucket is known beforehand. S3 tests the destination when creating
        the bucket, so the permission comes first.
        """
        source_arn = f"arn:{Aws.PARTITION}:s3:::{name}"
        if self.buffer:
            conditions = {
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                "ArnEquals": {"aws:SourceArn": source_arn},
            }
            self.buffer.add_to_resource_policy(
                admit("Arrivals", "s3.amazonaws.com", "sqs:SendMessage", self.buffer.queue_arn, conditions)
            )
            permission = cast("CfnResource", self.buffer.node.find_child("Policy").node.default_child)
            target = s3.CfnBucket.QueueConfigurationProperty(event=ARRIVALS, queue=self.buffer.queue_arn)
            bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
                queue_configurations=[target]
            )
        else:
            function_arn = self.start.function.function_arn
            permission = lambda_.CfnPermission(
                self,
                "MayCallStart",
                action="lambda:InvokeFunction",
                function_name=function_arn,
                principal="s3.amazonaws.com",
                source_account=Aws.ACCOUNT_ID,
                source_arn=source_arn,
            )
            call = s3.CfnBucket.LambdaConfigurationProperty(event=ARRIVALS, function=function_arn)
            bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
                lambda_configurations=[call]
            )
        bucket.add_resource_dependency(permission)

    def _buffer(self, platform: Platform) -> sqs.Queue:
        """Create a queue that the function empties, and that moves failing messages to the start-dlq.

        It has no name of its own: prod retains it when `buffered` is turned off, and a new one needs another name.
        """
        buffer = EventQueue(
            self,
            "Buffer",
            platform=platform,
            visibility_timeout=Duration.seconds(TIMEOUTS_HIDDEN * platform.settings.size("start").timeout_seconds),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.start_dlq, max_receive_count=RECEIVES),
        )
        # Lambda reads the queue with the role of the function.
        self.start.role.add_to_policy(
            iam.PolicyStatement(
                actions=["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                resources=[buffer.queue_arn],
            )
        )
        self.start.role.add_to_policy(on_key(platform.key, "Decrypt", via="sqs"))
        lambda_.CfnEventSourceMapping(
            self,
            "Emptying",
            event_source_arn=buffer.queue_arn,
            function_name=self.start.function.function_name,
            batch_size=BATCH,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=lambda_.CfnEventSourceMapping.ScalingConfigProperty(
                maximum_concurrency=platform.settings.buffer_concurrency
            ),
        )
        return buffer
