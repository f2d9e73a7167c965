"""The queues: one shape for all of them."""

from aws_cdk import Duration
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.lambda_function import Platform

KEPT = Duration.days(14)
"""As long as SQS can keep a message."""


class EventQueue(sqs.Queue):
    """A queue of events, which it keeps for a fortnight: encrypted with the key, and closed to all but TLS."""

    def __init__(  # noqa: PLR0913 - what queues differ in
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        platform: Platform,
        hidden: Duration | None = None,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            queue_name=platform.settings.name(name),
            retention_period=KEPT,
            visibility_timeout=hidden,
            dead_letter_queue=dead_letter_queue,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=platform.key,
            enforce_ssl=True,
            removal_policy=platform.removal,
        )
