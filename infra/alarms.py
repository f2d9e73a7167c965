"""The alarms: each goes off at a single failure, and tells the topic."""

from aws_cdk import Aws, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.ends import Ends
from infra.functions import Platform
from infra.ingestion import Ingestion
from infra.workflow import Workflow

PERIOD = Duration.minutes(1)


class Alarms(Construct):
    """What wakes somebody up. Retries do not: only what failed for good."""

    def __init__(  # noqa: PLR0913 - what it watches
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: Platform,
        ingestion: Ingestion,
        workflow: Workflow,
        ends: Ends,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = platform.settings
        self.topic = self._topic(platform)
        machine = workflow.machine
        self._alarm(
            "executions-failed",
            machine.metric_failed(period=PERIOD, statistic="Sum"),
            "An execution failed: some of its records are not delivered, and a letter in the audit bucket says why.",
        )
        self._alarm(
            "executions-timed-out",
            machine.metric_timed_out(period=PERIOD, statistic="Sum"),
            "An execution ran longer than the state machine allows, so its records are not delivered.",
        )
        self._alarm(
            "executions-aborted",
            machine.metric_aborted(period=PERIOD, statistic="Sum"),
            "Somebody stopped an execution, so its records are not delivered.",
        )
        self._alarm(
            "undelivered",
            ingestion.undelivered.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum"),
            "Objects arrived for which no execution could be started: their events wait in the undelivered queue.",
        )
        self._alarm(
            "events-lost",
            ingestion.start.function.metric("DestinationDeliveryFailures", period=PERIOD, statistic="Sum"),
            "Objects arrived, but neither an execution nor the undelivered queue has their events: they are lost.",
        )
        self._alarm(
            "unwritten",
            ends.unwritten.metric_approximate_number_of_messages_visible(period=PERIOD, statistic="Maximum"),
            "Executions ended for which no letter could be written: their events wait in the unwritten queue.",
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

    def _alarm(self, name: str, metric: cloudwatch.Metric, meaning: str) -> None:
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.title() for word in name.split("-")),
            alarm_name=self._settings.name(name),
            alarm_description=f"{meaning} What to do: docs/runbook.md#{name}.",
            metric=metric,
            threshold=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        action = actions.SnsAction(self.topic)
        alarm.add_alarm_action(action)
        alarm.add_ok_action(action)
