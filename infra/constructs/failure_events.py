"""Executions that end where no Catch sees it: their events go to the function that writes dead letters."""

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from infra.constructs.failure_queue import LONGEST_WAIT, FailureQueue
from infra.constructs.lambda_function import Platform, Stage

STATUSES = ("FAILED", "TIMED_OUT", "ABORTED")
DELIVERY_RETRIES = 185
"""As often as EventBridge tries by default (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html)."""


class Ends(Construct):
    """A rule on the status changes of the machines, and the queue for events that could not be handled.

    The executions of chunks are of another machine, and Summarize tells of those that failed.
    Step Functions sends such events as best it can, and no better: `custody reconcile` is the guarantee.
    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, platform: Platform, machine_arns: list[str], dead_letter: Stage
    ) -> None:
        super().__init__(scope, construct_id)
        self.dead_letter_dlq = FailureQueue(self, "DeadLetterDlq", name="dead-letter-dlq", platform=platform)
        self.dead_letter_dlq.keep_events_of(dead_letter, platform)
        events.Rule(
            self,
            "Rule",
            rule_name=platform.settings.name("ends"),
            description="Executions that ended badly: DeadLetter writes a dead letter for each that has none.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"status": list(STATUSES), "stateMachineArn": machine_arns},
            ),
            targets=[
                # Two kinds of failure end in one queue: EventBridge's, which cannot call the function, and Lambda's.
                targets.LambdaFunction(
                    dead_letter.function,
                    dead_letter_queue=self.dead_letter_dlq,
                    retry_attempts=DELIVERY_RETRIES,
                    max_event_age=LONGEST_WAIT,
                )
            ],
        )
