"""The tagging API lists log groups.

MiniStack's GetResources knows their tags, but lists none of them
(https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html).
"""

from collections.abc import Iterator
from typing import Any

from local.patches.patch import member, module


def apply() -> None:
    """Add log groups to what the tagging API lists."""
    groups = member(module("services.cloudwatch_logs"), "_log_groups")

    def collect() -> Iterator[tuple[str, list[dict[str, Any]]]]:
        for group in groups.values():
            yield (
                group["arn"].removesuffix(":*"),
                [{"Key": key, "Value": value} for key, value in group["tags"].items()],
            )

    member(module("services.tagging"), "_COLLECTORS")["logs"] = collect
