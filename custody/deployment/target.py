"""Choose the AWS that a command talks to, and find the deployment there."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct, ValidationError, convert, field

import local
from custody.errors import USAGE, CommandFailed

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("CUSTODY_FOLDER") or ROOT / ".custody").absolute()
"""Where embedded AWS keeps its files."""

_CONFIG = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)
_RATE_LIMITED = Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=5, read_timeout=60)
"""For a service with low request quotas: the client slows down when it is throttled.

https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""


@dataclass(frozen=True)
class Target:
    """An AWS to talk to: `name` is for people, `is_local` for embedded AWS."""

    name: str
    session: boto3.Session
    endpoint: str | None

    @property
    def is_local(self) -> bool:
        """Whether this is embedded AWS."""
        return self.endpoint is not None

    def client(self, service: Any) -> Any:
        """Make a client of a service."""
        config = _RATE_LIMITED if service == "stepfunctions" and not self.is_local else _CONFIG
        return self.session.client(service, endpoint_url=self.endpoint, config=config)


class Deployment(Struct, frozen=True):
    """The outputs of a stack.

    `buffer_url` is None without a buffer before `start`. `raw_prefix` is the prefix of the keys that it processes, if
    it shares the raw bucket. `datasets` are separated by commas.
    """

    raw: str = field(name="RawBucket")
    processed: str = field(name="ProcessedBucket")
    audit: str = field(name="AuditBucket")
    pipeline_arn: str = field(name="PipelineArn")
    bulk_arn: str = field(name="BulkArn")
    chunk_bytes: int = field(name="ChunkBytes")
    json_lines_suffixes: str = field(name="JsonLinesSuffixes")
    start_dlq_url: str = field(name="StartDlqUrl")
    start_function: str = field(name="StartFunctionName")
    dead_letter_dlq_url: str = field(name="DeadLetterDlqUrl")
    dead_letter_function: str = field(name="DeadLetterFunctionName")
    buffer_url: str | None = field(name="BufferQueueUrl", default=None)
    raw_prefix: str = field(name="RawPrefix", default="")
    skip_markers: bool = field(name="SkipMarkers", default=True)
    default_dataset: str = field(name="DefaultDataset", default="")
    datasets: str = field(name="Datasets", default="")

    def unknown(self, datasets: Iterable[str]) -> list[str]:
        """Select the names that are not datasets of this deployment; the empty name stands for the default one."""
        known = {"", *self.datasets.split(",")}
        return sorted(set(datasets) - known) if self.datasets else []

    def within(self, prefix: str) -> str:
        """Narrow a prefix to the keys that this deployment processes; raise CommandFailed if it processes none."""
        if prefix.startswith(self.raw_prefix):
            return prefix
        if self.raw_prefix.startswith(prefix):
            return self.raw_prefix
        raise CommandFailed(
            f"This deployment processes only keys with the prefix {self.raw_prefix}, not {prefix}. Use a prefix that "
            f"starts with {self.raw_prefix}.",
            USAGE,
        )


def choose(*, aws: bool, profile: str | None) -> Target:
    """Choose AWS if it is asked for, else embedded AWS if it is running.

    Raises CommandFailed if neither holds: no AWS account is reached unasked.
    """
    if aws or profile:
        return _account(profile)
    if instance := local.find(FOLDER):
        return on(instance)
    raise CommandFailed(
        "Embedded AWS is not running. Run `custody up`, or use --aws or --profile NAME for an AWS account.", USAGE
    )


def _account(profile: str | None) -> Target:
    try:
        # The AWS CLI reads AWS_REGION; boto3 alone does not.
        session = boto3.Session(profile_name=profile, region_name=os.environ.get("AWS_REGION") or None)
    except BotoCoreError as error:
        raise CommandFailed(f"{error}. Use a profile from your AWS configuration.", USAGE) from error
    if session.region_name is None:
        raise CommandFailed(
            "No region is configured. Set AWS_REGION, or use a profile that has one: --profile NAME.", USAGE
        )
    endpoint = configured_endpoint(profile)
    at = f", at {endpoint}" if endpoint else ""
    return Target(f"AWS, profile {profile or 'default'}, region {session.region_name}{at}", session, None)


def configured_endpoint(profile: str | None) -> str | None:
    """Return the endpoint that replaces AWS, if one is configured: nothing done there is done in an account.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    """
    configured = botocore.session.Session(profile=profile).get_scoped_config()
    return os.environ.get("AWS_ENDPOINT_URL") or configured.get("endpoint_url")


def on(instance: local.Instance) -> Target:
    """Make the target of an embedded AWS that is running."""
    environment = instance.environment()
    session = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=instance.region,
    )
    return Target(f"embedded AWS at {instance.endpoint}", session, instance.endpoint)


def describe_stack(target: Target, name: str) -> Any | None:
    """Return CloudFormation's description of a stack, by name or ARN; None if there is no such stack."""
    try:
        (stack,) = target.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return None
    return stack


def find(target: Target, env: str) -> Deployment:
    """Read the outputs of the stack of an environment; raise CommandFailed if it is not deployed there."""
    name = f"custody-{env}"
    stack = describe_stack(target, name)
    if stack is None:
        option = "" if env == "dev" else f" --env {quote(env)}"
        command = f"custody up{option}" if target.is_local else f"cdk deploy -c env={quote(env)}"
        raise CommandFailed(f"The stack {name} is not deployed on {target.name}. Run `{command}`.")
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    try:
        return convert(outputs, Deployment, strict=False)
    except ValidationError as error:
        raise CommandFailed(
            f"The outputs of the stack {name} are incomplete: {error}; its status is {stack['StackStatus']}."
        ) from error
