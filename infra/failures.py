"""Where the events go that a function could not handle, however often Lambda called it."""

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.functions import Platform, Stage
from infra.permissions import on_key

RETRIES = 2
LONGEST_WAIT = Duration.hours(6)


class FailureQueue(sqs.Queue):
    """The destination of a function's failed asynchronous calls; it keeps each event for a fortnight.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """

    def __init__(self, scope: Construct, construct_id: str, *, name: str, stage: Stage, platform: Platform) -> None:
        super().__init__(
            scope,
            construct_id,
            queue_name=platform.settings.name(name),
            retention_period=Duration.days(14),
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=platform.key,
            enforce_ssl=True,
            removal_policy=platform.removal,
        )
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="AwsSolutions-SQS3",
                reason="This queue is where the events go that could not be handled: it is a dead-letter queue itself.",
            )
        )
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
