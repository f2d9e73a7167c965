"""What a bucket tells EventBridge names the version that was made.

MiniStack leaves `version-id` out, which AWS sends for a bucket that keeps versions:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from local.patches.patch import change, module


def fill() -> None:
    """Add the version to the detail."""
    change(
        module("services.s3"),
        "_fire_s3_event",
        {
            '"sequencer": sequencer or "0"},': (
                '"sequencer": sequencer or "0"} | ({"version-id": version_id} if version_id else {}),'
            )
        },
    )
