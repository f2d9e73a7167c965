"""The Lambda functions: one shape for all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from aws_cdk import Acknowledgment, Duration, IgnoreMode, RemovalPolicy, Size, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from infra.constructs.permissions import role
from infra.partitions import PARTITIONS
from infra.settings import Settings

CODE_VERSION_LENGTH = 12
NEWEST_RUNTIME = "python3.14"
ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}


@dataclass(frozen=True, slots=True)
class Platform:
    """What all functions share; `root` is the folder that contains `functions/`."""

    settings: Settings
    root: Path
    key: kms.IKey
    libraries: lambda_.ILayerVersion
    removal: RemovalPolicy


class Stage(Construct):
    """A function with its own code, role and log group.

    `name` is its folder under functions/; `datasets` selects the files that it needs of each dataset, such as `*.py`.
    """

    def __init__(  # noqa: PLR0913 - what differs between functions
        self,
        scope: Construct,
        name: str,
        *,
        platform: Platform,
        environment: Mapping[str, str],
        may: Sequence[iam.PolicyStatement],
        datasets: str = "",
    ) -> None:
        super().__init__(scope, name.title().replace("_", ""))
        self.name = name
        settings = platform.settings
        function_name = settings.name(name.replace("_", "-"))
        size, partition = settings.size(name), PARTITIONS[settings.partition]
        log = log_group(self, f"/aws/lambda/{function_name}", platform)
        logging = iam.PolicyStatement(
            actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log.log_group_arn]
        )
        principal = iam.ServicePrincipal("lambda.amazonaws.com")
        self.role = role(self, principal, f"What the function {function_name} may do.", [logging, *may])
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=function_name,
            description=f"Custody: {name}. Its code is functions/{name}/.",
            code=lambda_.Code.from_asset(
                str(platform.root), exclude=excludes(name, datasets), ignore_mode=IgnoreMode.GIT
            ),
            handler=f"functions.{name}.handler.handle",
            runtime=lambda_.Runtime(settings.runtime, lambda_.RuntimeFamily.PYTHON),
            architecture=ARCHITECTURES[settings.architecture],
            layers=[platform.libraries],
            role=self.role,
            log_group=log,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE if partition.tracing else None,
            environment={"POWERTOOLS_SERVICE_NAME": name, **environment},
            environment_encryption=platform.key,
            memory_size=size.memory_mb,
            ephemeral_storage_size=Size.mebibytes(size.storage_mb),
            timeout=Duration.seconds(size.timeout_seconds),
            reserved_concurrent_executions=size.concurrency,
        )
        if not partition.logging_config:
            # The function logs to this group all the same, by its name.
            cast("lambda_.CfnFunction", self.function.node.default_child).logging_config = None
            self.function.node.add_dependency(log)
        if settings.runtime != NEWEST_RUNTIME:
            Validations.of(self.function).acknowledge(Acknowledgment(id="AwsSolutions-L1", reason="It is a setting."))

    @property
    def code_version(self) -> str:
        """The start of the hash of the function's code: the same for the same code, wherever it is deployed."""
        asset = cast("s3_assets.Asset", self.function.node.find_child("Code"))
        return asset.asset_hash[:CODE_VERSION_LENGTH]


def log_group(scope: Construct, name: str, platform: Platform) -> logs.LogGroup:
    """Add a log group to a construct: encrypted, and kept as long as the settings say."""
    group = logs.LogGroup(
        scope, "Logs", log_group_name=name, encryption_key=platform.key, removal_policy=platform.removal
    )
    resource = cast("logs.CfnLogGroup", group.node.default_child)
    resource.retention_in_days = platform.settings.log_days
    return group


def excludes(name: str, datasets: str = "") -> list[str]:
    """List, as in .gitignore, what a function does without: all but its folder, the shared one, and some `datasets`."""
    return [
        "/*",
        "!/functions",
        "/functions/*",
        "!/functions/__init__.py",
        "!/functions/shared",
        f"!/functions/{name}",
        *(["!/datasets", "/datasets/*/*", f"!/datasets/*/{datasets}"] if datasets else []),
        "__pycache__",
    ]
