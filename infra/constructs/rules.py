"""The EventBridge rules: failed executions for DeadLetter, and new objects of an existing raw bucket for start."""

from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.lambda_function import Platform, Stage
from infra.constructs.permissions import admit
from infra.constructs.queues import MAX_EVENT_AGE, FailureQueue
from infra.settings import Settings

STATUSES = ("FAILED", "TIMED_OUT", "ABORTED")
DELIVERY_RETRIES = 185
"""EventBridge's default (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html)."""


class Rule(Construct):
    """A rule with a dead-letter queue."""

    rule_name: str

    def metric(self, name: str) -> cloudwatch.Metric:
        """Sum up a metric of the rule (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html)."""
        return cloudwatch.Metric(
            namespace="AWS/Events", metric_name=name, dimensions_map={"RuleName": self.rule_name}, statistic="Sum"
        )


class FailureRule(Rule):
    """A rule on failed executions, which no Catch sees, and the queue for events that DeadLetter could not handle.

    Executions of chunks belong to another machine; Summarize covers those that failed. Step Functions delivers these
    events on a best-effort basis, so `custody reconcile` is the guarantee.
    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, platform: Platform, machine_arns: list[str], dead_letter: Stage
    ) -> None:
        super().__init__(scope, construct_id)
        self.dead_letter = dead_letter
        self.dead_letter_dlq = FailureQueue(self, "DeadLetterDlq", name="dead-letter-dlq", platform=platform)
        self.dead_letter_dlq.receive_failures_of(dead_letter, platform)
        rule = events.Rule(
            self,
            "Rule",
            rule_name=platform.settings.name("ends"),
            description="Executions that failed: DeadLetter writes a dead letter for each that has none.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"status": list(STATUSES), "stateMachineArn": machine_arns},
            ),
            targets=[
                # The queue gets two kinds of failure: EventBridge cannot call the function, or the function fails.
                targets.LambdaFunction(
                    dead_letter.function,
                    dead_letter_queue=self.dead_letter_dlq,
                    retry_attempts=DELIVERY_RETRIES,
                    max_event_age=MAX_EVENT_AGE,
                )
            ],
        )
        self.rule_name = rule.rule_name


class ArrivalRule(Rule):
    """A rule on new objects of `raw_bucket`, below `raw_prefix` if that is set.

    The owner has the bucket send its events to EventBridge
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html); nothing of its configuration is touched. The
    rule forwards them to the start function, or to the buffer if there is one, and what it cannot deliver to the
    start-dlq. Each permission names this rule: CDK's own target for an encrypted queue would admit every rule of the
    account, and permit more than sending.

    The rule is active as soon as it exists, and EventBridge does not retry where it lacks permission
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html). So its targets come first, and permit
    it by the name that it will have.
    """

    def __init__(  # noqa: PLR0913 - its targets
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: Platform,
        start: Stage,
        buffer: sqs.Queue | None,
        start_dlq: FailureQueue,
    ) -> None:
        super().__init__(scope, construct_id)
        settings = platform.settings
        name = settings.name("arrivals")
        self._rule_arn = f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:rule/{name}"
        start_dlq.add_to_resource_policy(self._may_send("UndeliverableArrivals", start_dlq))
        if buffer:
            buffer.add_to_resource_policy(self._may_send("Arrivals", buffer))
        target = buffer or lambda_.CfnPermission(
            self,
            "MayCallStart",
            action="lambda:InvokeFunction",
            function_name=start.function.function_arn,
            principal="events.amazonaws.com",
            source_arn=self._rule_arn,
        )
        rule = events.CfnRule(
            self,
            "Rule",
            name=name,
            description="Objects that arrive in the existing raw bucket: each is started.",
            event_pattern=_new_objects(settings),
            targets=[
                events.CfnRule.TargetProperty(
                    id="buffer" if buffer else "start",
                    arn=buffer.queue_arn if buffer else start.function.function_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=start_dlq.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=DELIVERY_RETRIES,
                        maximum_event_age_in_seconds=MAX_EVENT_AGE.to_seconds(),
                    ),
                )
            ],
        )
        # With everything that belongs to them: the policy of a queue, and the role and the event queue of the function.
        rule.node.add_dependency(target, start_dlq, start, platform.key)
        self.rule_name = rule.ref

    def _may_send(self, sid: str, queue: sqs.Queue) -> iam.PolicyStatement:
        """Permit the rule to send to a queue.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        """
        conditions = {"ArnEquals": {"aws:SourceArn": self._rule_arn}}
        return admit(sid, "events.amazonaws.com", "sqs:SendMessage", queue.queue_arn, conditions)


def _new_objects(settings: Settings) -> dict[str, Any]:
    detail: dict[str, Any] = {"bucket": {"name": [settings.raw_bucket]}}
    if settings.raw_prefix:
        detail["object"] = {"key": [{"prefix": settings.raw_prefix}]}
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}
