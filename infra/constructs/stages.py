"""The functions of the state machines: the environment and the permissions of each."""

import json
from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.constructs.lambda_function import Platform, Stage
from infra.constructs.permissions import on_key, on_listing, on_objects
from infra.constructs.storage import Storage

BATCHES = "batches/"
LEDGER = "ledger/"
DEAD_LETTERS = "dead-letters/"


class Stages(Construct):
    """The steps of every batch, Summarize, which closes the ledger of a bulk object, and DeadLetter."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        platform: Platform,
        storage: Storage,
        executions_arns: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        settings = platform.settings
        staging = {"STAGING_BUCKET": storage.staging.bucket_name}
        audit = {"AUDIT_BUCKET": storage.audit.bucket_name}
        tolerated = {"TOLERATED_REJECTS_PERCENT": f"{settings.tolerated_rejects_percent:g}"}
        inline = {"INLINE_LIMIT_BYTES": str(settings.inline_limit_bytes)}
        dataset = {"DEFAULT_DATASET": settings.default_dataset, "RAW_PREFIX": storage.raw_prefix}
        limits = {
            "DOCUMENT_LIMIT_BYTES": str(settings.document_limit_bytes),
            "CHUNK_BYTES": str(settings.chunk_bytes),
        }
        read_raw = [on_objects(storage.raw, "GetObjectVersion", prefix=storage.raw_prefix)]
        if storage.raw_key:
            read_raw.append(on_key(storage.raw_key, "Decrypt", via="s3"))
        read_batches = on_objects(storage.staging, "GetObject", "GetObjectVersion", prefix=BATCHES)
        # Without permission to list, S3 answers 403 for a missing object instead of 404
        # (https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html).
        list_batches = on_listing(storage.staging)
        put_batches = on_objects(storage.staging, "PutObject", prefix=BATCHES)
        put_dead_letters = on_objects(storage.audit, "PutObject", prefix=DEAD_LETTERS)
        # Reading shows who has committed an attempt that is there already.
        put_ledger = on_objects(storage.audit, "PutObject", "GetObject", prefix=LEDGER)
        read_and_write = on_key(platform.key, "Decrypt", "GenerateDataKey", via="s3")

        self.validate = Stage(
            self,
            "validate",
            platform=platform,
            environment={**staging, **dataset, **inline, **limits},
            may=[*read_raw, put_batches, read_and_write],
            datasets="contract.schema.json",
        )
        self.transform = Stage(
            self,
            "transform",
            platform=platform,
            environment={**staging, **inline, **limits},
            may=[*read_raw, read_batches, list_batches, put_batches, read_and_write],
            datasets="*.py",
        )
        self.write = Stage(
            self,
            "write",
            platform=platform,
            environment={
                "PROCESSED_BUCKET": storage.processed.bucket_name,
                **audit,
                **tolerated,
            },
            may=[
                read_batches,
                list_batches,
                on_objects(storage.processed, "PutObject"),
                on_listing(storage.processed),
                on_listing(storage.audit, LEDGER),
                put_ledger,
                put_dead_letters,
                read_and_write,
            ],
        )
        self.summarize = Stage(
            self,
            "summarize",
            platform=platform,
            environment={**audit, **dataset, **tolerated},
            may=[on_listing(storage.audit, LEDGER), put_ledger, read_and_write],
        )
        self.dead_letter = Stage(
            self,
            "dead_letter",
            platform=platform,
            environment={**staging, **audit, **dataset},
            may=[
                read_batches,
                list_batches,
                put_ledger,
                put_dead_letters,
                on_listing(storage.audit, DEAD_LETTERS),
                on_listing(storage.audit, LEDGER),
                iam.PolicyStatement(
                    actions=["states:DescribeExecution", "states:GetExecutionHistory"],
                    resources=list(executions_arns),
                ),
                read_and_write,
            ],
        )
        self.all = [stage for stage in self.node.children if isinstance(stage, Stage)]
        for stage in self.all:
            stage.function.add_environment("CODE_VERSION", stage.code_version)
        # A failed step may not have recorded its code version.
        versions = {stage.name: stage.code_version for stage in self.all if stage is not self.dead_letter}
        self.dead_letter.function.add_environment("CODE_VERSIONS", json.dumps(versions))
