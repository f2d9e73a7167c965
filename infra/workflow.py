"""The state machine: statemachine/pipeline.asl.json, with the functions put in."""

from typing import cast

from aws_cdk import ArnFormat, Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.functions import Platform
from infra.logs import log_group
from infra.permissions import explain_star
from infra.settings import Settings
from infra.stages import Stages

PIPELINE = "pipeline"


def pipeline_arn(stack: Stack, settings: Settings) -> str:
    """Say what the machine's ARN will be: the start function must know it, and comes first."""
    return stack.format_arn(
        service="states",
        resource="stateMachine",
        resource_name=settings.name(PIPELINE),
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def executions_arn(stack: Stack, settings: Settings) -> str:
    """Say what the ARN of each of the machine's executions will match."""
    return stack.format_arn(
        service="states",
        resource="execution",
        resource_name=f"{settings.name(PIPELINE)}:*",
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


class Workflow(Construct):
    """The pipeline, its log, and a role that can call its functions and nothing else."""

    def __init__(self, scope: Construct, construct_id: str, *, platform: Platform, stages: Stages) -> None:
        super().__init__(scope, construct_id)
        name = platform.settings.name(PIPELINE)
        arn = pipeline_arn(Stack.of(self), platform.settings)
        role = iam.Role(
            self,
            "Role",
            # Only this machine, of this account, can have Step Functions take the role
            # (https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html).
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}, "ArnLike": {"aws:SourceArn": arn}},
            ),
            description=f"What the state machine {name} may do.",
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["lambda:InvokeFunction"], resources=[stage.function.function_arn for stage in stages.all]
            )
        )
        explain_star(role, "The actions of X-Ray, and those that set up log delivery, know no resources.")
        logs = log_group(
            self,
            # Under this prefix a log group needs no room in the account's one resource policy for log delivery
            # (https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html).
            f"/aws/vendedlogs/states/{name}",
            settings=platform.settings,
            key=platform.key,
            removal=platform.removal,
        )
        definition = (platform.root / "statemachine" / "pipeline.asl.json").read_text()
        self.machine = sfn.StateMachine(
            self,
            "Pipeline",
            state_machine_name=name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            # As a string it stays readable in the template. TimeoutSeconds stands in it, for CDK drops its own here.
            definition_body=sfn.DefinitionBody.from_string(definition),
            definition_substitutions={
                "Partition": Aws.PARTITION,
                "ValidateFunctionArn": stages.validate.function.function_arn,
                "TransformFunctionArn": stages.transform.function.function_arn,
                "WriteFunctionArn": stages.write.function.function_arn,
                "DeadLetterFunctionArn": stages.dead_letter.function.function_arn,
            },
            role=role,
            # Not the data: it is in the history of the execution already, and would be the dearest part of the bill.
            logs=sfn.LogOptions(destination=logs, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )
        # cfn-lint knows a placeholder only as a whole value, not as the partition of an ARN. The tests show it the
        # definition with every placeholder filled in.
        cast("sfn.CfnStateMachine", self.machine.node.default_child).add_metadata(
            "cfn-lint", {"config": {"ignore_checks": ["E3601"]}}
        )
