"""Embedded AWS: MiniStack on loopback, patched where it differs from AWS in what a pipeline needs.

It is independent of what runs on it. `start` returns an `Instance`; `Instance.environment()` is what boto3, the AWS
CLI and the CDK CLI need to talk to it.
"""

from local.instance import Instance, find
from local.server import LocalAwsError, PortTakenError, ServerSettings, StartError, has_data, start, stop, was_killed

__all__ = [
    "Instance",
    "LocalAwsError",
    "PortTakenError",
    "ServerSettings",
    "StartError",
    "find",
    "has_data",
    "start",
    "stop",
    "was_killed",
]
