"""The tagging API lists log groups.

MiniStack's GetResources knows their tags, but lists none of them
(https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html).
"""

from collections.abc import Iterator

from local.patches.patch import module


def apply() -> None:
    """Add log groups to what the tagging API lists."""
    module("services.tagging")._COLLECTORS["logs"] = _collect


def _collect() -> Iterator[tuple[str, list[dict[str, str]]]]:
    for group in module("services.cloudwatch_logs")._log_groups.values():
        yield group["arn"].removesuffix(":*"), [{"Key": key, "Value": value} for key, value in group["tags"].items()]
