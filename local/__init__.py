"""Embedded AWS: MiniStack on loopback, with the gaps filled that a pipeline would trip over.

It knows nothing of what runs on it. `start` gives an `Instance`; `Instance.environment()` is what boto3, the AWS CLI
and the CDK CLI need to talk to it.
"""

from local.instance import Instance, find
from local.server import LocalAwsError, PortTakenError, Settings, StartError, start, stop

__all__ = ["Instance", "LocalAwsError", "PortTakenError", "Settings", "StartError", "find", "start", "stop"]
