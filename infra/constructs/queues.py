"""The queues: of events that wait for a function, and of those that failed."""

from typing import Any

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.lambda_function import Platform, Stage
from infra.constructs.permissions import on_key

MAX_RETENTION = Duration.days(14)
RETRIES = 2
MAX_EVENT_AGE = Duration.hours(6)


class EventQueue(sqs.Queue):
    """A queue of events with 14-day retention, encrypted with the key and closed to all but TLS."""

    def __init__(self, scope: Construct, construct_id: str, *, platform: Platform, **options: Any) -> None:
        super().__init__(
            scope,
            construct_id,
            retention_period=MAX_RETENTION,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=platform.key,
            enforce_ssl=True,
            removal_policy=platform.removal,
            **options,
        )


class FailureQueue(EventQueue):
    """A queue of events that could not be handled: by a function, or by another queue that moved them here."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, platform: Platform) -> None:
        super().__init__(scope, construct_id, platform=platform, queue_name=platform.settings.name(name))
        Validations.of(self).acknowledge(
            Acknowledgment(id="AwsSolutions-SQS3", reason="This is a dead-letter queue itself.")
        )

    def receive_failures_of(self, stage: Stage, platform: Platform) -> None:
        """Have Lambda send each event here that an asynchronous call of a stage could not handle.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        """
        # Lambda sends to the queue with the role of the function.
        stage.role.add_to_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.queue_arn]))
        stage.role.add_to_policy(on_key(platform.key, "Decrypt", "GenerateDataKey", via="sqs"))
        lambda_.CfnEventInvokeConfig(
            self,
            "Delivery",
            function_name=stage.function.function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=RETRIES,
            maximum_event_age_in_seconds=MAX_EVENT_AGE.to_seconds(),
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=self.queue_arn)
            ),
        )
