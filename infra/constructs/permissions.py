"""The statements of the roles: exact actions on exact prefixes.

CDK's own grants are wider: `grant_put` on a locked bucket also permits changing retention and legal hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Aws, Stack, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct


def on_objects(bucket: s3.IBucket, *actions: str, prefix: str = "") -> iam.PolicyStatement:
    """Permit actions on the objects of a bucket whose keys begin with `prefix`."""
    return iam.PolicyStatement(
        actions=[f"s3:{action}" for action in actions], resources=[bucket.arn_for_objects(f"{prefix}*")]
    )


def on_listing(bucket: s3.IBucket, prefix: str = "") -> iam.PolicyStatement:
    """Permit listing the keys of a bucket that begin with `prefix`; all of them if it is empty."""
    conditions = {"StringLike": {"s3:prefix": f"{prefix}*"}} if prefix else None
    return iam.PolicyStatement(actions=["s3:ListBucket"], resources=[bucket.bucket_arn], conditions=conditions)


def on_key(key: kms.IKey, *actions: str, via: str) -> iam.PolicyStatement:
    """Permit use of a key, but only through the service `via`, named as in its host name.

    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
    """
    return iam.PolicyStatement(
        actions=[f"kms:{action}" for action in actions],
        resources=[key.key_arn],
        conditions={"StringEquals": {"kms:ViaService": f"{via}.{Aws.REGION}.{Aws.URL_SUFFIX}"}},
    )


def admit(sid: str, service: str, action: str, resource: str, conditions: Mapping[str, Any]) -> iam.PolicyStatement:
    """Permit a service an action on a resource, in the policy of that resource."""
    return iam.PolicyStatement(
        sid=sid,
        principals=[iam.ServicePrincipal(service)],
        actions=[action],
        resources=[resource],
        conditions=conditions,
    )


def role(
    scope: Construct, principal: iam.IPrincipal, description: str, statements: Sequence[iam.PolicyStatement]
) -> iam.Role:
    """Add a role to a construct. To cdk-nag, acknowledge `*` and each `*` at the end of a prefix; others fail synth."""
    role = iam.Role(scope, "Role", assumed_by=principal, description=description)
    for statement in statements:
        role.add_to_policy(statement)
    for resource in sorted({"*", *(each for statement in statements for each in statement.resources)}):
        resolved: Any = Stack.of(role).resolve(resource)
        parts = [resolved] if isinstance(resolved, str) else resolved.get("Fn::Join", ["", []])[1]
        written = "".join(
            part if isinstance(part, str) else f"<{part.get('Ref') or '.'.join(part['Fn::GetAtt'])}>" for part in parts
        )
        if written.endswith("*"):
            Validations.of(role).acknowledge(
                Acknowledgment(
                    id=f"AwsSolutions-IAM5[Resource::{written}]",
                    reason="Names of objects and executions are not known beforehand, and the prefix is as narrow as "
                    "the task. The actions of X-Ray and of log delivery support no resources.",
                )
            )
    return role
