"""The functions of the state machines: the environment and the permissions of each."""

import json
from collections.abc import Sequence
from functools import partial

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
        environment = {
            "STAGING_BUCKET": storage.staging.bucket_name,
            "PROCESSED_BUCKET": storage.processed.bucket_name,
            "AUDIT_BUCKET": storage.audit.bucket_name,
            "DEFAULT_DATASET": settings.default_dataset,
            "RAW_PREFIX": storage.raw_prefix,
            "INLINE_LIMIT_BYTES": str(settings.inline_limit_bytes),
            "DOCUMENT_LIMIT_BYTES": str(settings.document_limit_bytes),
            "CHUNK_BYTES": str(settings.chunk_bytes),
            "JSON_LINES_SUFFIXES": settings.json_lines_suffixes,
            "TOLERATED_REJECTS_PERCENT": f"{settings.tolerated_rejects_percent:g}",
        }
        stage = partial(Stage, self, platform=platform, environment=environment)
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
        list_ledger = on_listing(storage.audit, LEDGER)
        read_and_write = on_key(platform.key, "Decrypt", "GenerateDataKey", via="s3")

        self.validate = stage("validate", may=[*read_raw, put_batches, read_and_write], datasets="contract.schema.json")
        self.transform = stage(
            "transform", may=[*read_raw, read_batches, list_batches, put_batches, read_and_write], datasets="*.py"
        )
        self.write = stage(
            "write",
            may=[
                read_batches,
                list_batches,
                on_objects(storage.processed, "PutObject"),
                on_listing(storage.processed),
                list_ledger,
                put_ledger,
                put_dead_letters,
                read_and_write,
            ],
        )
        self.summarize = stage("summarize", may=[list_ledger, put_ledger, read_and_write])
        self.dead_letter = stage(
            "dead_letter",
            may=[
                read_batches,
                list_batches,
                put_ledger,
                put_dead_letters,
                on_listing(storage.audit, DEAD_LETTERS),
                list_ledger,
                iam.PolicyStatement(
                    actions=["states:DescribeExecution", "states:GetExecutionHistory"], resources=list(executions_arns)
                ),
                read_and_write,
            ],
        )
        self.all = [stage for stage in self.node.children if isinstance(stage, Stage)]
        for each in self.all:
            each.function.add_environment("CODE_VERSION", each.code_version)
        # A failed step may not have recorded its code version.
        versions = {stage.name: stage.code_version for stage in self.all if stage is not self.dead_letter}
        self.dead_letter.function.add_environment("CODE_VERSIONS", json.dumps(versions))
