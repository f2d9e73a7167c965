"""Log groups: encrypted, and kept as long as the settings say."""

from typing import cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.settings import Settings


def log_group(
    scope: Construct, name: str, *, settings: Settings, key: kms.IKey, removal: RemovalPolicy
) -> logs.LogGroup:
    """Add a log group called `name` to a construct."""
    group = logs.LogGroup(scope, "Logs", log_group_name=name, encryption_key=key, removal_policy=removal)
    resource = cast("logs.CfnLogGroup", group.node.default_child)
    resource.retention_in_days = settings.log_days
    return group
