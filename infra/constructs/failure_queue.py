"""Where the events go that a function could not handle, however often it was called."""

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.constructs.lambda_function import Platform, Stage
from infra.constructs.permissions import on_key
from infra.constructs.queues import EventQueue

RETRIES = 2
LONGEST_WAIT = Duration.hours(6)


class FailureQueue(EventQueue):
    """A queue of events that could not be handled: of a stage's asynchronous calls, or moved there by another queue."""

    def __init__(self, scope: Construct, construct_id: str, *, name: str, platform: Platform) -> None:
        super().__init__(scope, construct_id, name=name, platform=platform)
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="AwsSolutions-SQS3",
                reason="This queue is where the events go that could not be handled: it is a dead-letter queue itself.",
            )
        )

    def keep_events_of(self, stage: Stage, platform: Platform) -> None:
        """Have Lambda put each event here for which it has called a stage in vain.

        https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
        """
        # Lambda sends to the queue as the function itself.
        stage.role.add_to_policy(iam.PolicyStatement(actions=["sqs:SendMessage"], resources=[self.queue_arn]))
        stage.role.add_to_policy(on_key(platform.key, "Decrypt", "GenerateDataKey", via="sqs"))
        lambda_.CfnEventInvokeConfig(
            self,
            "Delivery",
            function_name=stage.function.function_name,
            qualifier="$LATEST",
            maximum_retry_attempts=RETRIES,
            maximum_event_age_in_seconds=LONGEST_WAIT.to_seconds(),
            destination_config=lambda_.CfnEventInvokeConfig.DestinationConfigProperty(
                on_failure=lambda_.CfnEventInvokeConfig.OnFailureProperty(destination=self.queue_arn)
            ),
        )
