"""Verify what is stored, and tamper with ledger files."""

import gzip
import json
from collections.abc import Callable
from typing import Any

from custody.assurance.findings import ObjectVerdict
from custody.assurance.verify import stored_ledgers, verify_all
from functions.shared.model.keys import LedgerKey
from tests.support.buckets import Buckets, parse_ledger_file

Change = Callable[[Any, list[Any]], object]
"""Changes the header or the lines of a ledger file."""


def the_verdict(buckets: Buckets) -> ObjectVerdict:
    """Verify the one object there is."""
    (verdict,) = verify_all(buckets.s3, "audit", stored_ledgers(buckets.s3, "audit"))
    return verdict


def rewrite(buckets: Buckets, key: LedgerKey, change: Change) -> None:
    """Change a ledger file as if it had been written like that: its first version is deleted."""
    header, lines = parse_ledger_file(buckets.body("audit", key.key))
    change(header, lines)
    forget(buckets, "audit", key.key)
    put_lines(buckets, key, [header, *lines])


def put_lines(buckets: Buckets, key: LedgerKey, lines: list[Any]) -> None:
    """Put a ledger file with these lines."""
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    buckets.s3.put_object(Bucket="audit", Key=key.key, Body=gzip.compress(body))


def forget(buckets: Buckets, bucket: str, key: str) -> None:
    """Delete every version of an object."""
    for version in buckets.s3.list_object_versions(Bucket=bucket, Prefix=key)["Versions"]:
        buckets.s3.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"])
