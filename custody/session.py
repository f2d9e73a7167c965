"""What every command works on: the AWS that it talks to, the deployment there, and the clients and readers of both."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from custody.audit.reader import AuditReader
from custody.audit.subject import Subject, resolve
from custody.deployment.target import Deployment, Target, choose, find
from custody.executions.pipeline import Pipeline
from custody.executions.timeline import Links
from custody.terminal import console

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Session:
    """A deployment on an AWS; all is found, and each client and reader made, when it is first used."""

    env: str = "dev"
    aws: bool = False
    profile: str | None = None

    @cached_property
    def target(self) -> Target:
        """The AWS to talk to; its name is printed to stderr. Raises CommandFailed if none is named and none is up."""
        return open_target(aws=self.aws, profile=self.profile)

    @cached_property
    def deployment(self) -> Deployment:
        """The deployment of the environment; raises CommandFailed without one."""
        return find(self.target, self.env)

    @property
    def pause(self) -> float:
        """The seconds between two looks at what is running: longer on AWS, where calls are limited."""
        return 0.1 if self.target.is_local else 1.0

    @cached_property
    def s3(self) -> "S3Client":
        """The client of S3."""
        client: S3Client = self.target.client("s3")
        return client

    @cached_property
    def audit(self) -> AuditReader:
        """The reader of the audit bucket."""
        return AuditReader(self.s3, self.deployment.audit)

    @cached_property
    def pipeline(self) -> Pipeline:
        """The state machines and their executions."""
        return Pipeline.of(self.target, self.deployment)

    @cached_property
    def links(self) -> Links:
        """Links into the AWS console."""
        return Links.of(self.target, self.pipeline)

    def resolve(self, name: str) -> Subject:
        """Resolve what an operator has named; raise CommandFailed if there is no such object, record or dead letter."""
        return resolve(self.s3, self.pipeline, self.deployment, name)


def open_target(*, aws: bool, profile: str | None) -> Target:
    """Choose the AWS to talk to, and print its name to stderr; raise CommandFailed if none is named and none is up."""
    target = choose(aws=aws, profile=profile)
    console.warn(f"target: {target.name}")
    return target
