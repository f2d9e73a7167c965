"""Custom resources: a provider that fails ends the wait, and the CDK's emptying of buckets works without its provider.

MiniStack waits an hour for the answer of a function that has already failed. So does AWS, after two more attempts, but
nobody waits for that here. The CDK's `auto_delete_objects` has a Node.js provider that needs the JavaScript SDK, which
AWS's runtime brings and this machine does not; what it does is done here instead, as its source says:
https://github.com/aws/aws-cdk/tree/main/packages/%40aws-cdk/custom-resource-handlers/lib/aws-s3
"""

from typing import Any

from local.patches.cloudformation.resources import Properties, accepted
from local.patches.patch import change, member, module

_EMPTYING = "Custom::S3AutoDeleteObjects"
_TAG = "aws-cdk:auto-delete-objects"
_INVOKE = "_lambda_svc._execute_function_with_config_scope(exec_record, cfn_event)"


def fill() -> None:
    """Pass a failed invocation on as the answer, and handle the emptying of buckets."""
    custom = module("services.cloudformation.custom_resource")
    deliver = member(custom, "deliver_response")

    def answer_failure(token: str, result: dict[str, Any]) -> None:
        if result.get("error"):
            deliver(token, {"Status": "FAILED", "Reason": f"The provider function failed: {result.get('body')}"})

    change(
        custom,
        "invoke_custom_resource",
        {_INVOKE: f"_local_answer_failure(token, {_INVOKE})"},
        {"_local_answer_failure": answer_failure},
    )
    member(module("services.cloudformation.provisioners"), "_RESOURCE_HANDLERS")[_EMPTYING] = {
        "create": lambda _logical_id, said, _stack: (f"{said['BucketName']}-emptying", {}),
        "update": lambda physical_id, _earlier, _said, _stack: (physical_id, {}),
        "delete": _empty,
    }


def _empty(_physical_id: str, said: Properties) -> None:
    s3 = module("services.s3")
    bucket = said["BucketName"]
    if (s3._bucket_tags.get(bucket) or {}).get(_TAG) != "true":  # noqa: SLF001
        return
    versions = [
        (key, version["version_id"])
        for (holder, key), found in list(s3._object_versions.items())  # noqa: SLF001
        for version in list(found)
        if holder == bucket
    ]
    for key, version in versions:
        accepted(s3._delete_object(bucket, key, {}, {"versionId": [version]}), f"Deleting {bucket}/{key}")  # noqa: SLF001
    for key in list(s3._buckets[bucket]["objects"]):  # noqa: SLF001
        accepted(s3._delete_object(bucket, key), f"Deleting {bucket}/{key}")  # noqa: SLF001
