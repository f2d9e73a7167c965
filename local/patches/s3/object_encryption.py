"""A write that asks for `aws:kms` without a key gets the bucket's key, or else the account's own for S3.

MiniStack refuses it, and so every asset that the CDK publishes into an encrypted bootstrap bucket.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/specifying-kms-encryption.html
"""

from collections.abc import Callable
from typing import Any

from local.patches.patch import member, module, wrap

_ENCRYPTION = "x-amz-server-side-encryption"
_KEY = "x-amz-server-side-encryption-aws-kms-key-id"


def fill() -> None:
    """Name the key in the request before MiniStack looks at it."""
    s3, responses = module("services.s3"), module("core.responses")
    default = member(s3, "_bucket_default_sse_headers")

    def around(resolve: Callable[..., Any]) -> Callable[..., Any]:
        def resolved(headers: dict[str, str], bucket: str) -> Any:
            if headers.get(_ENCRYPTION) == "aws:kms" and not headers.get(_KEY):
                usual = f"arn:aws:kms:{responses.get_region()}:{responses.get_account_id()}:alias/aws/s3"
                headers = {**headers, _KEY: default(bucket).get(_KEY, usual)}
            return resolve(headers, bucket)

        return resolved

    wrap(s3, "_resolve_sse_write_headers", around)
