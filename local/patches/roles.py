"""Evaluate the policies of roles with MiniStack's evaluator."""

from local.patches.patch import module

evaluator = module("core.iam_evaluator")


def are_enforced() -> bool:
    """Whether this embedded AWS enforces IAM policies."""
    return bool(module("app").AUTH)


def may(role_arn: str, action: str, resource: str, session: str) -> bool:
    """Whether the policies of a role allow an action on a resource; a missing role allows nothing."""
    region, account = resource.split(":")[3:5]
    context = evaluator.EvalContext(
        principal_arn=as_caller(role_arn, session),
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=region,
    )
    policies = evaluator._gather_role_policies(role_arn.rsplit("/", 1)[-1], account)
    return bool(evaluator.evaluate(context, policies).decision == "Allow")


def as_caller(role_arn: str, session: str) -> str:
    """Return the ARN of a session that has assumed a role."""
    account, role = role_arn.split(":")[4], role_arn.rsplit("/", 1)[-1]
    return f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
