"""Read what Custody delivers exactly once into a SQLite file: an example of a consumer, explained in docs/consuming.md.

python samples/consumer.py queue URL FILE               take what the events in a queue tell of
python samples/consumer.py bucket BUCKET PREFIX FILE    take all there is, as after a time without events
"""

import json
import sqlite3
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import boto3

TABLES = """
CREATE TABLE IF NOT EXISTS batches (key TEXT PRIMARY KEY, version_id TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (key TEXT, begins INTEGER, document TEXT NOT NULL, PRIMARY KEY (key, begins));
"""
"""`begins` is the byte at which the record's line begins in its object, as in the ledger."""


def open_file(path: str) -> sqlite3.Connection:
    """Open the file in which the records are kept, and make it if need be."""
    file = sqlite3.connect(path, isolation_level=None, timeout=60)
    file.executescript(TABLES)
    return file


def take(file: sqlite3.Connection, s3: Any, bucket: str, key: str, version_id: str) -> bool:
    """Put a processed object in the place of what was taken of it before; say whether there was anything new.

    `version_id` is what one was told of. What is taken is the latest version, whatever order one is told in.
    """
    with file:
        # Before the object is read: of two that do so at once, none can put the older version over the newer.
        file.execute("BEGIN IMMEDIATE")
        if is_taken(file, key, version_id):
            return False
        delivered = s3.get_object(Bucket=bucket, Key=key)
        with closing(delivered["Body"]) as body:
            if is_taken(file, key, delivered["VersionId"]):
                return False
            file.execute("DELETE FROM records WHERE key = ?", (key,))
            rows = ((key, begins, line.decode()) for begins, line in numbered(body.iter_lines(2**16, keepends=True)))
            file.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
        file.execute("INSERT OR REPLACE INTO batches VALUES (?, ?)", (key, delivered["VersionId"]))
    return True


def is_taken(file: sqlite3.Connection, key: str, version_id: str) -> bool:
    """Say whether a version is what is kept of an object."""
    return bool(file.execute("SELECT 1 FROM batches WHERE key = ? AND version_id = ?", (key, version_id)).fetchone())


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Give each line without its ending, and the byte at which it begins."""
    begins = 0
    for line in lines:
        yield begins, line.rstrip(b"\n")
        begins += len(line)


def from_queue(sqs: Any, url: str) -> Iterator[tuple[str, str, str]]:
    """Give bucket, key and version of each event that waits; an event is deleted once the next one is asked for."""
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        for message in messages:
            detail = json.loads(message["Body"])["detail"]
            yield detail["bucket"]["name"], detail["object"]["key"], detail["object"]["version-id"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def from_bucket(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Give bucket, key and version of each object that is there now."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for version in page.get("Versions", []):
            if version["IsLatest"]:
                yield bucket, version["Key"], version["VersionId"]


def main(where: str, *words: str) -> None:
    """Take what there is, and say how many objects were new."""
    *source, path = words
    s3 = boto3.client("s3")
    told = from_queue(boto3.client("sqs"), *source) if where == "queue" else from_bucket(s3, *source)
    with closing(open_file(path)) as file:
        print(sum(take(file, s3, *one) for one in told))  # noqa: T201 - what it is asked for


if __name__ == "__main__":
    main(*sys.argv[1:])
