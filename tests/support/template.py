"""A synthesised stack, with its references resolved as in an account."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from aws_cdk import App

from infra.app import ROOT, build

ACCOUNT = "111122223333"
REGION = "eu-west-1"
EXISTING = {
    "raw_bucket": "their-bucket",
    "raw_prefix": "incoming/",
    "raw_key_arn": f"arn:aws:kms:{REGION}:444455556666:key/12345678-1234-1234-1234-123456789012",
}
"""Settings of an existing raw bucket, encrypted with a key of another account."""

VARIANTS: dict[str, dict[str, str]] = {
    "prod": {"env": "prod"},
    "dev": {},
    "local": {"local": "true"},
    "buffered": {"buffered": "true"},
    "existing": EXISTING,
}
"""The settings of each variant of the stack that tests and documents are about."""
_PSEUDO = {
    "AWS::Partition": "aws",
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}

_NAME = {
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::Events::Rule": "Name",
    "AWS::KMS::Alias": "AliasName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Lambda::LayerVersion": "LayerName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
_ARN = {
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{}}",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{}}",
    "AWS::KMS::Key": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{{}}",
    "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*",
    "AWS::S3::Bucket": "arn:aws:s3:::{}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}",
    "AWS::StepFunctions::StateMachine": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{{}}",
}
_REF_IS_ARN = ("AWS::SNS::Topic", "AWS::StepFunctions::StateMachine")


@dataclass(frozen=True)
class Deployment:
    """One synthesised stack: its template, and the folder with its assets."""

    env: str
    template: dict[str, Any]
    folder: Path
    termination_protection: bool

    @classmethod
    def synthesise(cls, context: Mapping[str, Any], folder: Path) -> "Deployment":
        """Synthesise as `cdk synth -c name=value` would."""
        app = empty_app(context, folder)
        stack = build(app)
        artifact = app.synth().get_stack_by_name(stack.stack_name)
        return cls(
            env=str(context.get("env", "dev")),
            template=json.loads(Path(artifact.template_full_path).read_text()),
            folder=folder,
            termination_protection=bool(artifact.termination_protection),
        )

    @cached_property
    def resources(self) -> dict[str, dict[str, Any]]:
        """Each resource by its logical id, with every reference resolved."""
        return {logical_id: self._resolved(resource) for logical_id, resource in self.template["Resources"].items()}

    def of_type(self, kind: str) -> dict[str, dict[str, Any]]:
        """The properties of each resource of a type, by its own name if it has one, else by its logical id."""
        return {
            own_name(kind, resource["Properties"]) or logical_id: resource["Properties"]
            for logical_id, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def names(self) -> set[str]:
        """Every name that the stack chooses; CloudFormation generates the others."""
        return {name for kind in _NAME for name, resource in self.of_type(kind).items() if own_name(kind, resource)}

    def bucket(self, bucket: str) -> str:
        """The full name of a bucket."""
        return f"custody-{self.env}-{bucket}-{ACCOUNT}-{REGION}-an"

    def function(self, name: str) -> dict[str, Any]:
        """The properties of a function, by the name of its folder."""
        return self.of_type("AWS::Lambda::Function")[f"custody-{self.env}-{name.replace('_', '-')}"]

    @property
    def key(self) -> str:
        """The ARN of the one key."""
        (logical_id,) = self.of_type("AWS::KMS::Key")
        return _ARN["AWS::KMS::Key"].format(logical_id)

    def machine(self, name: str) -> dict[str, Any]:
        """The properties of a state machine: `pipeline` or `bulk`."""
        return self.of_type("AWS::StepFunctions::StateMachine")[f"custody-{self.env}-{name}"]

    def machine_arn(self, name: str) -> str:
        """The ARN of a state machine."""
        return _ARN["AWS::StepFunctions::StateMachine"].format(f"custody-{self.env}-{name}")

    def definition(self, name: str) -> str:
        """The definition of a state machine, with every placeholder filled in."""
        text: str = self.machine(name)["DefinitionString"]
        for placeholder, value in self.machine(name)["DefinitionSubstitutions"].items():
            text = text.replace(f"${{{placeholder}}}", value)
        return text

    @property
    def is_buffered(self) -> bool:
        """Whether a queue stands between the raw bucket and the start function."""
        return bool(self.of_type("AWS::Lambda::EventSourceMapping"))

    @property
    def buffer(self) -> str:
        """The logical id of the buffer, which stands for the name that CloudFormation generates."""
        (logical_id,) = (name for name in self.of_type("AWS::SQS::Queue") if name.startswith("IngestionBuffer"))
        return logical_id

    @property
    def arrivals(self) -> dict[str, Any] | None:
        """The rule on new objects of an existing raw bucket; None if the stack has its own."""
        return self.of_type("AWS::Events::Rule").get(f"custody-{self.env}-arrivals")

    def policy(self, kind: str, **target: str) -> list[dict[str, Any]]:
        """The statements of the resource policy of a type that is attached to a target."""
        return [
            statement
            for resource in self.of_type(kind).values()
            if all(resource[name] in (value, [value]) for name, value in target.items())
            for statement in resource["PolicyDocument"]["Statement"]
        ]

    def statements(self, role_arn: str) -> list[dict[str, Any]]:
        """All that a role may do, wherever it is written."""
        role = role_arn.rpartition("/")[2]
        assert not {"Policies", "ManagedPolicyArns"} & self.of_type("AWS::IAM::Role")[role].keys()
        return [
            statement
            for policy in self.of_type("AWS::IAM::Policy").values()
            if role in policy["Roles"]
            for statement in policy["PolicyDocument"]["Statement"]
        ]

    def _resolved(self, value: Any) -> Any:
        match value:
            case list():
                value = list(map(self._resolved, value))
            case {"Ref": name}:
                value = _PSEUDO.get(name) or self._attribute(name, has_arn=self._name(name)[0] in _REF_IS_ARN)
            case {"Fn::GetAtt": [name, attribute]}:
                value = self._attribute(name, has_arn=attribute == "Arn" and self._name(name)[0] in _ARN)
            case {"Fn::Join": [separator, parts]}:
                value = separator.join(map(self._resolved, parts))
            case {"Fn::Sub": text}:
                value = re.sub(r"\$\{(AWS::\w+)\}", lambda name: _PSEUDO[name[1]], text)
            case dict():
                value = {name: self._resolved(element) for name, element in value.items()}
        return value

    def _attribute(self, logical_id: str, *, has_arn: bool) -> str:
        kind, name = self._name(logical_id)
        return _ARN[kind].format(name) if has_arn else name

    def _name(self, logical_id: str) -> tuple[str, str]:
        resource = self.template["Resources"][logical_id]
        name = own_name(resource["Type"], resource.get("Properties", {}))
        return resource["Type"], self._resolved(name or logical_id)


def own_name(kind: str, properties: dict[str, Any]) -> Any:
    """Return the name that the stack chooses for a resource; None if CloudFormation generates it."""
    if prefix := properties.get("BucketNamePrefix"):
        return f"{prefix}-{ACCOUNT}-{REGION}-an"
    return properties.get(_NAME.get(kind, ""))


def empty_app(context: Mapping[str, Any], folder: Path) -> App:
    """Create an app with the context of `-c name=value` and the feature flags of cdk.json."""
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    return App(context={**flags, **context}, outdir=str(folder))


def listed(value: Any) -> list[Any]:
    """Return a value of a policy, single or a list, as a list."""
    return value if isinstance(value, list) else [value]
