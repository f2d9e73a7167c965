"""Links into the AWS Console: to executions, and to objects in S3 and their versions."""

from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from custody.deployment.target import Target
from custody.executions.pipeline import Pipeline
from functions.shared.audit.dead_letter import console_link


@dataclass(frozen=True)
class Links:
    """Links into the console of the partition and region of `machine`, an ARN; embedded AWS has none."""

    machine: str | None

    @classmethod
    def of(cls, target: Target, pipeline: Pipeline) -> "Links":
        """Return the links into a deployment."""
        return cls(None if target.is_local else pipeline.arn)

    def execution(self, arn: str) -> str | None:
        """Link to an execution."""
        return console_link(arn) if self.machine else None

    def object(self, bucket: str, key: str, version_id: str | None = None) -> str | None:
        """Link to a version of an object, or to its current one."""
        if self.machine is None:
            return None
        region = self.machine.split(":")[3]
        # The link to an execution knows the domain of each partition.
        domain = urlsplit(console_link(self.machine)).netloc
        query = {"region": region, "prefix": key} | ({"versionId": version_id} if version_id else {})
        return f"https://{domain}/s3/object/{bucket}?{urlencode(query)}"
