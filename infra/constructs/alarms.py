"""The alarms: each goes off at a single failure, and tells the topic."""

from collections.abc import Mapping

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.failure_events import Ends
from infra.constructs.ingestion import Ingestion
from infra.constructs.lambda_function import Platform
from infra.constructs.object_created_rule import Arrivals
from infra.constructs.workflow import BULK, PIPELINE, Workflow

PERIOD = Duration.minutes(1)

BUFFERED_TOO_LONG = Duration.minutes(5)
"""How old an event in the buffer may become. One that fails is seen while it is new: CloudWatch leaves out of the age
what was received three times and more
(https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html)."""


class Alarms(Construct):
    """What wakes somebody up. Retries do not: only what failed for good."""

    def __init__(  # noqa: PLR0913 - what it watches
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: Platform,
        ingestion: Ingestion,
        workflows: Mapping[str, Workflow],
        ends: Ends,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = platform.settings
        self.topic = self._topic(platform)
        # One for each machine: the sum of two metrics has no value while one of them has none.
        self._of_executions(workflows[PIPELINE], "")
        self._of_executions(workflows[BULK], f"{BULK}-")
        self._alarm(
            "start-dlq",
            ingestion.start_dlq.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum"),
            "Objects arrived for which no execution could be started: their events wait in the start-dlq.",
        )
        if ingestion.arrivals:
            self._of_arrivals(ingestion.arrivals)
        if ingestion.buffer:
            self._alarm(
                "buffer-stuck",
                ingestion.buffer.metric_approximate_age_of_oldest_message(period=PERIOD, statistic="Maximum"),
                "Objects arrived minutes ago, and their events are in the buffer still: no execution was started yet.",
                threshold=BUFFERED_TOO_LONG.to_seconds(),
            )
        else:
            self._alarm(
                "events-lost",
                ingestion.start.function.metric("DestinationDeliveryFailures", period=PERIOD, statistic="Sum"),
                "Objects arrived, but neither an execution nor the start-dlq has their events: they are lost.",
            )
        self._alarm(
            "dead-letter-dlq",
            ends.dead_letter_dlq.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum"),
            "Executions ended for which no dead letter could be written: their events wait in the dead-letter-dlq.",
        )

    def _of_arrivals(self, arrivals: Arrivals) -> None:
        """Watch the rule that tells of new objects: what it could not deliver, and what nobody has."""
        self._alarm(
            "start-dlq",
            arrivals.metric("FailedInvocations", period=PERIOD, statistic="Sum"),
            "Objects arrived, and EventBridge could not deliver their events: they wait in the start-dlq.",
            "arrivals-",
        )
        self._alarm(
            "events-lost",
            arrivals.metric("InvocationsFailedToBeSentToDlq", period=PERIOD, statistic="Sum"),
            "Objects arrived, but neither an execution nor the start-dlq has their events: they are lost.",
            "arrivals-",
        )

    def _of_executions(self, workflow: Workflow, prefix: str) -> None:
        """Watch a machine; one section of the runbook serves both."""
        machine = workflow.machine
        self._alarm(
            "executions-failed",
            machine.metric_failed(period=PERIOD, statistic="Sum"),
            "An execution failed: some of its records are not delivered, and a dead letter in the audit bucket says why.",
            prefix,
        )
        self._alarm(
            "executions-timed-out",
            machine.metric_timed_out(period=PERIOD, statistic="Sum"),
            "An execution ran longer than the state machine allows, so its records are not delivered.",
            prefix,
        )
        self._alarm(
            "executions-aborted",
            machine.metric_aborted(period=PERIOD, statistic="Sum"),
            "Somebody stopped an execution, so its records are not delivered.",
            prefix,
        )

    def _topic(self, platform: Platform) -> sns.Topic:
        topic = sns.Topic(
            self, "Topic", topic_name=self._settings.name("alarms"), master_key=platform.key, enforce_ssl=True
        )
        # A topic with a policy has lost the default one, which let the account's alarms in.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="CloudWatchAlarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                    "ArnLike": {
                        "aws:SourceArn": (
                            f"arn:{Aws.PARTITION}:cloudwatch:{Aws.REGION}:{Aws.ACCOUNT_ID}"
                            f":alarm:{self._settings.name('*')}"
                        )
                    },
                },
            )
        )
        if self._settings.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(self._settings.alarm_email))
        return topic

    def _alarm(
        self, section: str, metric: cloudwatch.Metric, meaning: str, prefix: str = "", *, threshold: float = 1
    ) -> None:
        """Add an alarm named after a section of the runbook."""
        name = f"{prefix}{section}"
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.title() for word in name.split("-")),
            alarm_name=self._settings.name(name),
            alarm_description=f"{meaning} What to do: docs/runbook.md#{section}.",
            metric=metric,
            threshold=threshold,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        action = actions.SnsAction(self.topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)
