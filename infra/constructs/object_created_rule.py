"""New objects of a raw bucket that is not the stack's own, as EventBridge tells of them.

Whoever owns the bucket has it send its events there; nothing of its own configuration is touched. The event:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from typing import Any

from aws_cdk import Aws
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.failure_events import DELIVERY_RETRIES
from infra.constructs.failure_queue import LONGEST_WAIT, FailureQueue
from infra.constructs.lambda_function import Platform, Stage
from infra.settings import Settings


class Arrivals(Construct):
    """A rule on the new objects of `raw_bucket`, below `raw_prefix` if that is set.

    It hands their events to the start function, or puts them into the buffer if there is one. What EventBridge cannot
    deliver goes to the start-dlq, where Lambda puts what the function cannot handle. Each permission names this
    rule: CDK's own target for an encrypted queue would let in every rule of the account, to do more than send.

    The rule listens from the moment it is made, and EventBridge does not try again where it is not let in
    (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html). Hence all that it leads to comes first,
    and lets it in by the name that it is going to have.
    """

    def __init__(  # noqa: PLR0913 - what it leads from, and to
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
        let_in = buffer or lambda_.CfnPermission(
            self,
            "MayCallStart",
            action="lambda:InvokeFunction",
            function_name=start.function.function_arn,
            principal="events.amazonaws.com",
            source_arn=self._rule_arn,
        )
        self.rule = events.CfnRule(
            self,
            "Rule",
            name=name,
            description="Objects that arrive in the existing raw bucket: each is started.",
            event_pattern=_pattern(settings),
            targets=[
                events.CfnRule.TargetProperty(
                    id="buffer" if buffer else "start",
                    arn=buffer.queue_arn if buffer else start.function.function_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=start_dlq.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=DELIVERY_RETRIES,
                        maximum_event_age_in_seconds=LONGEST_WAIT.to_seconds(),
                    ),
                )
            ],
        )
        # Each with all that is part of it: a queue's policy, the function's role, and where its events are kept.
        self.rule.node.add_dependency(let_in, start_dlq, start, platform.key)

    def metric(self, name: str) -> cloudwatch.Metric:
        """Sum up a metric of the rule (https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html)."""
        return cloudwatch.Metric(
            namespace="AWS/Events", metric_name=name, dimensions_map={"RuleName": self.rule.ref}, statistic="Sum"
        )

    def _may_send(self, sid: str, queue: sqs.Queue) -> iam.PolicyStatement:
        """Let the rule send to a queue.

        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
        """
        return iam.PolicyStatement(
            sid=sid,
            principals=[iam.ServicePrincipal("events.amazonaws.com")],
            actions=["sqs:SendMessage"],
            resources=[queue.queue_arn],
            conditions={"ArnEquals": {"aws:SourceArn": self._rule_arn}},
        )


def _pattern(settings: Settings) -> dict[str, Any]:
    detail: dict[str, Any] = {"bucket": {"name": [settings.raw_bucket]}}
    if settings.raw_prefix:
        detail["object"] = {"key": [{"prefix": settings.raw_prefix}]}
    return {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}
