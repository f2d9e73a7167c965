"""The partitions of AWS that the stack deploys in, what each lacks, and whether a region belongs to the chosen one.

https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
"""

from dataclasses import dataclass

from aws_cdk.region_info import RegionInfo

from infra.settings import SettingRefused, Settings


@dataclass(frozen=True, slots=True)
class Partition:
    """What a partition supports: the configuration of logs, active tracing, and tags of event source mappings."""

    logging_config: bool = True
    tracing: bool = True
    mapping_tags: bool = True


# As of November 2026: https://github.com/aws/aws-cdk/issues/28919, https://github.com/aws/aws-cdk/issues/31965,
# https://docs.amazonaws.cn/en_us/aws/latest/userguide/lambda.html.
PARTITIONS = {
    "aws": Partition(),
    "aws-us-gov": Partition(logging_config=False, mapping_tags=False),
    "aws-cn": Partition(logging_config=False, tracing=False, mapping_tags=False),
}
"""The supported partitions."""

WITHOUT_NAMESPACE = ("me-central-1", "me-south-1")
"""Regions without account-regional names of buckets, as of November 2026
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/gpbucketnamespaces.html)."""


def check(settings: Settings, region: str | None) -> None:
    """Raise SettingRefused if the settings do not fit a region; one that is unknown is not checked."""
    if region is None or settings.local:
        return
    partition = RegionInfo.get(region).partition or settings.partition
    if partition not in PARTITIONS:
        raise SettingRefused(
            f"The region {region} is in the partition {partition}. Custody supports {', '.join(PARTITIONS)}: deploy to "
            "a region of one of these."
        )
    if partition != settings.partition:
        raise SettingRefused(
            f"Setting partition cannot be {settings.partition!r} in {region}. Set it: -c partition={partition}."
        )
    if region in WITHOUT_NAMESPACE and settings.bucket_namespace == "account":
        raise SettingRefused(
            f"Setting bucket_namespace cannot be 'account' in {region}, which has no such names. "
            "Set it: -c bucket_namespace=global."
        )
