"""Read each delivered record exactly once into a SQLite file: a sample consumer, explained in docs/consuming.md.

python samples/consumer.py queue URL FILE               read the objects named by the events in a queue
python samples/consumer.py bucket BUCKET PREFIX FILE    read every object, as after a time without events
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
"""`begins` is the byte offset of the record's line in its object, as in the ledger."""


def open_file(path: str) -> sqlite3.Connection:
    """Open the SQLite file, and create it if it does not exist."""
    file = sqlite3.connect(path, isolation_level=None, timeout=60)
    file.executescript(TABLES)
    return file


def take(file: sqlite3.Connection, s3: Any, bucket: str, key: str, version_id: str) -> bool:
    """Replace what was read of a processed object by its latest version; return whether it was new.

    `version_id` is that of the event or listing. Reading the latest version instead makes the order irrelevant.
    """
    with file:
        # Lock before reading: a slower concurrent reader must not restore an older version.
        file.execute("BEGIN IMMEDIATE")
        if is_stored(file, key, version_id):
            return False
        delivered = s3.get_object(Bucket=bucket, Key=key)
        with closing(delivered["Body"]) as body:
            if is_stored(file, key, delivered["VersionId"]):
                return False
            file.execute("DELETE FROM records WHERE key = ?", (key,))
            rows = ((key, begins, line.decode()) for begins, line in numbered(body.iter_lines(2**16, keepends=True)))
            file.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
        file.execute("INSERT OR REPLACE INTO batches VALUES (?, ?)", (key, delivered["VersionId"]))
    return True


def is_stored(file: sqlite3.Connection, key: str, version_id: str) -> bool:
    """Return whether this version of an object is stored."""
    return bool(file.execute("SELECT 1 FROM batches WHERE key = ? AND version_id = ?", (key, version_id)).fetchone())


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield each line without its ending, and its byte offset."""
    begins = 0
    for line in lines:
        yield begins, line.rstrip(b"\n")
        begins += len(line)


def from_queue(sqs: Any, url: str) -> Iterator[tuple[str, str, str]]:
    """Yield bucket, key and version of each event; it is deleted when the next one is requested."""
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        for message in messages:
            detail = json.loads(message["Body"])["detail"]
            yield detail["bucket"]["name"], detail["object"]["key"], detail["object"]["version-id"]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def from_bucket(s3: Any, bucket: str, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield bucket, key and version of each current object."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for version in page.get("Versions", []):
            if version["IsLatest"]:
                yield bucket, version["Key"], version["VersionId"]


def main(kind: str, *arguments: str) -> None:
    """Read everything new, and print the number of objects."""
    *source, path = arguments
    s3 = boto3.client("s3")
    objects = from_queue(boto3.client("sqs"), *source) if kind == "queue" else from_bucket(s3, *source)
    with closing(open_file(path)) as file:
        print(sum(take(file, s3, *each) for each in objects))  # noqa: T201 - its output


if __name__ == "__main__":
    main(*sys.argv[1:])
