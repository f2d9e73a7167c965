"""The alarms: a single failure sets one off, and the topic hears of it.

To add one: a line here, a section in docs/runbook.md, and `make docs`.
"""

from collections.abc import Mapping

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.ingestion import Ingestion
from infra.constructs.lambda_function import Platform, Stage
from infra.constructs.permissions import admit
from infra.constructs.rules import FailureRule
from infra.constructs.workflow import PIPELINE, Workflow

FAILED = "An execution failed: some of its records are not delivered; a dead letter in the audit bucket says why."
TIMED_OUT = "An execution ran longer than the state machine allows, so its records are not delivered."
ABORTED = "Somebody stopped an execution, so its records are not delivered."
NOT_STARTED = "Objects arrived for which no execution could be started: their events wait in the start-dlq."
NOT_DELIVERED = "Objects arrived, and EventBridge could not deliver their events: they wait in the start-dlq."
NOT_PASSED_ON = "Executions ended, and EventBridge could not deliver their events: they wait in the dead-letter-dlq."
UNRECORDED = "Executions ended, but neither a dead letter nor the dead-letter-dlq has their events: they are lost."
LOST = "Objects arrived, but neither an execution nor the start-dlq has their events: they are lost."
NO_DEAD_LETTER = "Executions ended for which no dead letter could be written: their events wait in the dead-letter-dlq."
STUCK = "Objects arrived minutes ago, and their events are still in the buffer: no execution has been started."

STUCK_SECONDS = 300
"""Maximum age of an event in the buffer. A failing one is noticed while it is new: the metric leaves out messages that
were received three times or more
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html)."""


class Alarms(Construct):
    """Alarms on what failed for good; retries set off none."""

    def __init__(  # noqa: PLR0913 - what it watches
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: Platform,
        ingestion: Ingestion,
        workflows: Mapping[str, Workflow],
        failures: FailureRule,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = platform.settings
        self.topic = self._topic(platform)
        for name, workflow in workflows.items():  # each its own: a sum of metrics has no value while one has none
            prefix, machine = "" if name == PIPELINE else f"{name}-", workflow.machine
            self._add("executions-failed", machine.metric_failed(), FAILED, prefix)
            self._add("executions-timed-out", machine.metric_timed_out(), TIMED_OUT, prefix)
            self._add("executions-aborted", machine.metric_aborted(), ABORTED, prefix)
        self._add("start-dlq", ingestion.start_dlq.metric_approximate_number_of_messages_visible(), NOT_STARTED)
        self._add(
            "dead-letter-dlq", failures.dead_letter_dlq.metric_approximate_number_of_messages_visible(), NO_DEAD_LETTER
        )
        self._add("dead-letter-dlq", failures.metric("FailedInvocations"), NOT_PASSED_ON, "ends-")
        self._add("dead-letters-lost", failures.metric("InvocationsFailedToBeSentToDlq"), UNRECORDED, "ends-")
        self._add("dead-letters-lost", _undelivered(failures.dead_letter), UNRECORDED)
        if rule := ingestion.arrivals:
            self._add("start-dlq", rule.metric("FailedInvocations"), NOT_DELIVERED, "arrivals-")
            self._add("events-lost", rule.metric("InvocationsFailedToBeSentToDlq"), LOST, "arrivals-")
        if buffer := ingestion.buffer:
            self._add("buffer-stuck", buffer.metric_approximate_age_of_oldest_message(), STUCK, threshold=STUCK_SECONDS)
        else:
            self._add("events-lost", _undelivered(ingestion.start), LOST)

    def _topic(self, platform: Platform) -> sns.Topic:
        topic = sns.Topic(
            self, "Topic", topic_name=self._settings.name("alarms"), master_key=platform.key, enforce_ssl=True
        )
        # A topic with a policy has lost the default one, which let the account's alarms in.
        alarms = f"arn:{Aws.PARTITION}:cloudwatch:{Aws.REGION}:{Aws.ACCOUNT_ID}:alarm:{self._settings.name('*')}"
        conditions = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}, "ArnLike": {"aws:SourceArn": alarms}}
        topic.add_to_resource_policy(
            admit("CloudWatchAlarms", "cloudwatch.amazonaws.com", "sns:Publish", topic.topic_arn, conditions)
        )
        if self._settings.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(self._settings.alarm_email))
        return topic

    def _add(
        self, section: str, metric: cloudwatch.Metric, meaning: str, prefix: str = "", *, threshold: float = 1
    ) -> None:
        """Add an alarm with the name of its section in the runbook."""
        name = f"{prefix}{section}"
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.title() for word in name.split("-")),
            alarm_name=self._settings.name(name),
            alarm_description=f"{meaning} What to do: docs/runbook.md#{section}.",
            metric=metric.with_(period=Duration.minutes(1)),
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        action = actions.SnsAction(self.topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)


def _undelivered(stage: Stage) -> cloudwatch.Metric:
    """Count the events that reached neither a function nor its queue.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    return stage.function.metric("DestinationDeliveryFailures", statistic="Sum")
