"""The stack: its constructs, and what each gets from the others."""

from pathlib import Path

from aws_cdk import CfnOutput, RemovalPolicy, Stack, Tags
from constructs import Construct

from infra.checks import datasets
from infra.constructs.alarms import Alarms
from infra.constructs.encryption import Encryption
from infra.constructs.ingestion import Ingestion
from infra.constructs.lambda_function import Platform
from infra.constructs.layer import Libraries
from infra.constructs.rules import FailureRule
from infra.constructs.stages import Stages
from infra.constructs.storage import Storage
from infra.constructs.workflow import BULK, PIPELINE, Workflow, executions_arn, machine_arn
from infra.partitions import PARTITIONS
from infra.settings import Settings


class Custody(Stack):
    """One environment of Custody, in whichever account and region it is deployed to."""

    def __init__(self, scope: Construct, *, settings: Settings, root: Path) -> None:
        super().__init__(
            scope,
            settings.prefix,
            description=f"Custody ({settings.env}): JSON records from raw to processed, with an audit trail.",
            termination_protection=settings.keeps_data,
        )
        untagged = [] if PARTITIONS[settings.partition].mapping_tags else ["AWS::Lambda::EventSourceMapping"]
        for tag, value in {"project": "custody", "env": settings.env}.items():
            Tags.of(self).add(tag, value, exclude_resource_types=untagged)
        # Not on create: a failed first deployment must not leave names behind that the next one needs.
        kept = RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE
        removal = kept if settings.keeps_data else RemovalPolicy.DESTROY

        # A locked bucket outlives its stack, and is unreadable without the key.
        key = Encryption(self, "Encryption", settings=settings, removal=kept if settings.lock_mode else removal).key
        storage = Storage(self, "Storage", settings=settings, key=key, removal=removal)
        libraries = Libraries(self, "Libraries", settings=settings, root=root)
        platform = Platform(settings=settings, root=root, key=key, libraries=libraries.version, removal=removal)
        ingestion = Ingestion(
            self,
            "Ingestion",
            platform=platform,
            own_raw=storage.own_raw,
            pipeline_arn=machine_arn(settings, PIPELINE),
            bulk_arn=machine_arn(settings, BULK),
        )
        self.stages = Stages(
            self,
            "Stages",
            platform=platform,
            storage=storage,
            executions_arns=[executions_arn(settings, machine) for machine in (PIPELINE, BULK)],
        )
        workflows = {
            machine: Workflow(self, construct_id, platform=platform, machine=machine, stages=self.stages)
            for machine, construct_id in ((PIPELINE, "Workflow"), (BULK, "BulkWorkflow"))
        }
        failures = FailureRule(
            self,
            "Ends",
            platform=platform,
            machine_arns=[machine_arn(settings, machine) for machine in workflows],
            dead_letter=self.stages.dead_letter,
        )
        alarms = Alarms(self, "Alarms", platform=platform, ingestion=ingestion, workflows=workflows, failures=failures)

        for output, value in {
            "RawBucket": storage.raw.bucket_name,
            "StagingBucket": storage.staging.bucket_name,
            "ProcessedBucket": storage.processed.bucket_name,
            "AuditBucket": storage.audit.bucket_name,
            "PipelineArn": workflows[PIPELINE].machine.state_machine_arn,
            "BulkArn": workflows[BULK].machine.state_machine_arn,
            "ChunkBytes": str(settings.chunk_bytes),
            "DefaultDataset": settings.default_dataset,
            "Datasets": ",".join(datasets.names(root)),
            "JsonLinesSuffixes": settings.json_lines_suffixes,
            "SkipMarkers": str(settings.skip_markers).lower(),
            "StartDlqUrl": ingestion.start_dlq.queue_url,
            "AlarmTopicArn": alarms.topic.topic_arn,
            "KeyArn": key.key_arn,
            "StartFunctionName": ingestion.start.function.function_name,
            "DeadLetterDlqUrl": failures.dead_letter_dlq.queue_url,
            "DeadLetterFunctionName": self.stages.dead_letter.function.function_name,
        }.items():
            CfnOutput(self, output, value=value)
        if ingestion.buffer:
            CfnOutput(self, "BufferQueueUrl", value=ingestion.buffer.queue_url)
        if settings.raw_prefix:
            CfnOutput(self, "RawPrefix", value=settings.raw_prefix)
