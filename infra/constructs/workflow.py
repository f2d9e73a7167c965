"""The state machines: the pipeline of a batch, and the bulk machine, which runs it for each chunk of a large object."""

import json
import re
from collections.abc import Sequence
from typing import cast

from aws_cdk import Aws
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.bulk_definition import MAP, compose
from infra.constructs.lambda_function import Platform, Stage, log_group
from infra.constructs.permissions import role
from infra.constructs.stages import Stages
from infra.settings import Settings

PIPELINE = "pipeline"
BULK = "bulk"
PARTITION = "Partition"
"""The placeholder of the partition; every other one is the ARN of a function."""


class StageMissing(ValueError):
    """A definition calls a function that does not exist."""


_STATES = f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}"


def machine_arn(settings: Settings, machine: str) -> str:
    """Return the future ARN of PIPELINE or BULK: functions need it, and come first."""
    return f"{_STATES}:stateMachine:{settings.name(machine)}"


def executions_arn(settings: Settings, machine: str) -> str:
    """Return the pattern of the ARNs of a machine's executions; chunks have a machine `BULK/MAP`."""
    return f"{_STATES}:execution:{settings.name(machine)}:*"


class Workflow(Construct):
    """A state machine, its log, and a role that may call its functions and nothing else."""

    def __init__(
        self, scope: Construct, construct_id: str, *, platform: Platform, machine: str, stages: Stages
    ) -> None:
        super().__init__(scope, construct_id)
        definition = _definition(platform, machine)
        functions = _named_in(definition, machine, stages.all)
        name = platform.settings.name(machine)
        arn = machine_arn(platform.settings, machine)
        calls = iam.PolicyStatement(
            actions=["lambda:InvokeFunction"], resources=[stage.function.function_arn for stage in functions.values()]
        )
        # Step Functions may assume the role for this machine alone
        # (https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html). AWS does not document
        # the source of a Map Run, whose executions have a machine with this name and the label of the Map.
        conditions = {
            "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
            "ArnLike": {"aws:SourceArn": f"{arn}*" if machine == BULK else arn},
        }
        self.role = role(
            self,
            iam.ServicePrincipal("states.amazonaws.com", conditions=conditions),
            f"What the state machine {name} may do.",
            [calls, *(_on_chunks(platform.settings) if machine == BULK else [])],
        )
        # With this prefix, a log group takes no space in the account's one resource policy for log delivery
        # (https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html).
        logs = log_group(self, f"/aws/vendedlogs/states/{name}", platform)
        self.machine = sfn.StateMachine(
            self,
            machine.title(),
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            # A string stays readable in the template. It contains TimeoutSeconds, because CDK ignores `timeout` here.
            definition_body=sfn.DefinitionBody.from_string(definition),
            definition_substitutions={
                PARTITION: Aws.PARTITION,
                **{placeholder: stage.function.function_arn for placeholder, stage in functions.items()},
            },
            role=self.role,
            # Without data, which the history has already, and which would dominate the bill.
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )
        # cfn-lint accepts a placeholder only as a whole value, not as the partition of an ARN. Tests lint the
        # definition with every placeholder filled in.
        cast("sfn.CfnStateMachine", self.machine.node.default_child).add_metadata(
            "cfn-lint", {"config": {"ignore_checks": ["E3601"]}}
        )


def _named_in(definition: str, machine: str, stages: Sequence[Stage]) -> dict[str, Stage]:
    """Find the stage of each placeholder of a definition; raise StageMissing if there is none."""
    known = {f"{stage.node.id}FunctionArn": stage for stage in stages}
    named = sorted(set(re.findall(r"\$\{(\w+)\}", definition)) - {PARTITION})
    for placeholder in named:
        if placeholder not in known:
            raise StageMissing(
                f"The state machine {machine} names ${{{placeholder}}}, which "
                f"infra/constructs/stages.py does not define. Add it, or use one of {', '.join(known)}."
            )
    return {placeholder: known[placeholder] for placeholder in named}


def _definition(platform: Platform, machine: str) -> str:
    """Read the definition of a machine; the bulk machine runs the states of the pipeline for each chunk."""
    pipeline, bulk = ((platform.root / "statemachine" / f"{name}.asl.json").read_text() for name in (PIPELINE, BULK))
    if machine == PIPELINE:
        return pipeline
    concurrency = platform.settings.chunk_concurrency
    return json.dumps(compose(json.loads(bulk), json.loads(pipeline), chunk_concurrency=concurrency), indent=2)


def _on_chunks(settings: Settings) -> list[iam.PolicyStatement]:
    """Permit what a Map Run does; the ARNs are built from names, as the machine cannot precede its role.

    https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html
    """
    of_objects, of_chunks = executions_arn(settings, BULK), executions_arn(settings, f"{BULK}/{MAP}")
    return [
        iam.PolicyStatement(actions=["states:StartExecution"], resources=[machine_arn(settings, BULK)]),
        iam.PolicyStatement(
            actions=["states:DescribeExecution", "states:StopExecution"], resources=[of_objects, of_chunks]
        ),
        iam.PolicyStatement(actions=["states:RedriveExecution"], resources=[of_chunks]),
    ]
