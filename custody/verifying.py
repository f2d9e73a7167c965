"""Check what the ledger says against what is there: recompute the hashes of raw and processed objects.

Only the ledger is taken at its word, and only while it has not been touched: each of its files is written once.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from custody.books import LEDGER, OF_NO_FILE, Entry
from custody.checking import (
    differences_in_processed,
    differences_in_raw,
    miscounted,
    read_booked,
    read_header,
    written_of,
)
from custody.letters import GONE, open_span, raw_of
from custody.parallel import answers
from functions.shared.identity import RawObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import DeleteMarkerEntryTypeDef, ObjectVersionTypeDef

_WORKERS = 4
"""Each holds the ledger file of one object, and streams the rest."""

_TOLD = 10
"""How many findings an object keeps; one is enough to be broken."""


class Result(IntEnum):
    """What becomes of a check; the worst one counts."""

    HOLDS = 0
    EXPIRED = 1
    BROKEN = 2

    def __str__(self) -> str:
        """Name it as people read it."""
        return self.name.lower()


@dataclass(frozen=True)
class Finding:
    """Something to tell of an object: a line for people, and how bad it is."""

    result: Result
    said: str


@dataclass(frozen=True)
class Verdict:
    """What came of an object: `records` is how many were checked, `findings` the first few things to tell."""

    object_id: str
    records: int
    findings: tuple[Finding, ...]
    untold: int = 0

    @property
    def result(self) -> Result:
        """The worst of it."""
        return max((finding.result for finding in self.findings), default=Result.HOLDS)

    @property
    def where(self) -> list[str]:
        """A line for each finding."""
        more = [f"and {self.untold} more"] if self.untold else []
        return [finding.said for finding in self.findings] + more

    def encode(self) -> dict[str, Any]:
        """Give the JSON shape of `--json`."""
        return {"object": self.object_id, "result": str(self.result), "records": self.records, "where": self.where}


@dataclass(frozen=True)
class Kept:
    """A ledger file as the audit bucket keeps it: its versions, the newest first, and whether it was deleted."""

    entry: Entry
    versions: tuple[str, ...]
    is_deleted: bool
    modified: datetime


@dataclass(frozen=True)
class Holding:
    """The ledger files of an object."""

    object_id: str
    files: tuple[Kept, ...]

    @property
    def modified(self) -> datetime:
        """When the last of them was put."""
        return max(kept.modified for kept in self.files)

    @property
    def to_check(self) -> list[Sequence[Kept]]:
        """The files that a step booked and that are there still, by batch; the latest attempt last."""
        booked = sorted(
            (kept for kept in self.files if kept.versions and not kept.entry.discards), key=lambda kept: kept.entry
        )
        return [list(of_batch) for _, of_batch in groupby(booked, lambda kept: kept.entry.start)]


def holdings(s3: "S3Client", bucket: str, object_id: str | None = None) -> Iterator[Holding]:
    """List the ledger by object, page by page, with what was deleted or replaced; or only that of one object."""
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=f"{LEDGER}{object_id}/" if object_id else LEDGER
    )
    listed = (
        found
        for page in pages
        for found in sorted(
            [*map(_version, page.get("Versions", [])), *map(_marker, page.get("DeleteMarkers", []))], key=_KEY
        )
    )
    kept = (_kept(key, list(found)) for key, found in groupby(listed, _KEY))
    files = (each for each in kept if each)
    for of_object, its_files in groupby(files, lambda each: each.entry.object_id):
        yield Holding(of_object, tuple(its_files))


def verdicts(s3: "S3Client", bucket: str, found: Iterable[Holding]) -> Iterator[Verdict]:
    """Check objects, a few at a time, and give their verdicts in the same order."""
    return answers(lambda holding: verify(s3, bucket, holding), found, _WORKERS)


def verify(s3: "S3Client", bucket: str, holding: Holding) -> Verdict:
    """Check one object: its ledger files, its raw version, and its processed objects as they are now."""
    findings = [finding for kept in holding.files for finding in _touched(kept)]
    records = 0
    for *earlier, latest in holding.to_check:
        outputs = []
        for kept in earlier:
            try:
                outputs.append(read_header(_first(s3, bucket, kept))["output"])
            except OF_NO_FILE as error:
                findings.append(_unreadable(kept, error))
        try:
            header, lines = read_booked(_first(s3, bucket, latest))
        except OF_NO_FILE as error:
            findings.append(_unreadable(latest, error))
            continue
        records += len(lines)
        findings += _check(s3, latest.entry, header, lines)
        findings += _elsewhere(s3, header["output"], filter(None, outputs))
    findings.sort(key=lambda finding: finding.result, reverse=True)
    return Verdict(holding.object_id, records, tuple(findings[:_TOLD]), max(0, len(findings) - _TOLD))


_Listed = tuple[str, str | None, datetime]
"""A key, its version id or None for a delete marker, and when that was put."""

_KEY = itemgetter(0)


def _version(found: "ObjectVersionTypeDef") -> _Listed:
    return found["Key"], found["VersionId"], found["LastModified"]


def _marker(found: "DeleteMarkerEntryTypeDef") -> _Listed:
    return found["Key"], None, found["LastModified"]


def _kept(key: str, found: Sequence[_Listed]) -> Kept | None:
    entry = Entry.of(key)
    if entry is None:
        return None
    versions = tuple(version for _, version, _ in found if version)
    return Kept(entry, versions, len(versions) < len(found), max(modified for _, _, modified in found))


def _broken(said: str) -> Finding:
    return Finding(Result.BROKEN, said)


def _unreadable(kept: Kept, why: Exception) -> Finding:
    return _broken(f"the ledger file {kept.entry.key} cannot be read: {why}")


def _touched(kept: Kept) -> Iterator[Finding]:
    """Tell of a ledger file that was touched after it was written."""
    if kept.is_deleted:
        still = f"; its first version is {kept.versions[-1]}" if kept.versions else ", and no version of it is left"
        yield _broken(f"the ledger file {kept.entry.key} was deleted{still}")
    if len(kept.versions) > 1:
        yield _broken(
            f"the ledger file {kept.entry.key} was replaced: it has {len(kept.versions)} versions, "
            f"of which {kept.versions[-1]} is the first"
        )


def _first(s3: "S3Client", bucket: str, kept: Kept) -> bytes:
    """Read the first version of a ledger file."""
    return s3.get_object(Bucket=bucket, Key=kept.entry.key, VersionId=kept.versions[-1])["Body"].read()


def _check(s3: "S3Client", entry: Entry, header: Any, lines: list[Any]) -> Iterator[Finding]:
    """Check a batch by its ledger file."""
    raw = raw_of(header)
    if raw.id != entry.object_id:
        yield _broken(f"the ledger file {entry.key} tells of another object: {raw.id}")
        return
    yield from map(_broken, miscounted(entry.key, header, lines))
    yield from _raw(s3, raw, lines)
    yield from _processed(s3, entry.object_id, header["output"], written_of(lines))


def _raw(s3: "S3Client", raw: RawObject, lines: list[Any]) -> Iterator[Finding]:
    """Check each record against its bytes in the raw version, read once from the first record to the last."""
    if not lines:
        return
    start, end = lines[0]["offset"], max(line["offset"] + line["length"] for line in lines)
    try:
        stream = open_span(s3, raw, start, end)
    except ClientError as error:
        if _code(error) not in GONE:
            raise
        yield Finding(Result.EXPIRED, f"the raw version is gone: {raw.uri}")
        return
    with closing(stream):
        yield from map(_broken, differences_in_raw(stream, raw.id, lines))


def _processed(s3: "S3Client", object_id: str, output: Any, written: list[Any]) -> Iterator[Finding]:
    """Check what consumers read, the current version, against the lines that the ledger says were written."""
    if not output and not written:
        return
    if not output:
        yield _broken(f"the ledger names no processed object for {len(written)} written records")
        return
    uri = f"s3://{output['bucket']}/{output['key']}"
    try:
        answer = s3.get_object(Bucket=output["bucket"], Key=output["key"])
    except ClientError as error:
        if _code(error) not in GONE:
            raise
        yield _missing(s3, output, uri)
        return
    with closing(answer["Body"]) as stream:
        differences = [_broken(said) for said in differences_in_processed(stream, object_id, written)]
    version, booked = answer.get("VersionId"), output["version_id"]
    if version != booked:
        bytes_are = "other bytes than" if differences else "the same bytes as"
        said = f"{uri}: replaced: its version {version} has {bytes_are} the booked {booked}"
        yield Finding(Result.BROKEN if differences else Result.HOLDS, said)
    yield from differences


def _missing(s3: "S3Client", output: Any, uri: str) -> Finding:
    """Tell whether a processed object that cannot be read is gone for good, or only hidden; nothing may expire it."""
    version = output["version_id"]
    try:
        s3.head_object(Bucket=output["bucket"], Key=output["key"], VersionId=version)
    except ClientError as error:
        if _code(error) not in GONE:
            raise
        return _broken(f"{uri}: gone for good, with its version {version}")
    return _broken(f"{uri}: deleted: a delete marker hides it; its version {version} is still there")


def _elsewhere(s3: "S3Client", output: Any, earlier: Iterable[Any]) -> Iterator[Finding]:
    """Check that what earlier attempts delivered elsewhere was taken back: the default dataset may have changed."""
    places = dict.fromkeys((each["bucket"], each["key"]) for each in earlier)
    if output:
        places.pop((output["bucket"], output["key"]), None)
    for bucket, key in places:
        try:
            found = s3.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if _code(error) not in GONE:
                raise
            continue
        if found["ContentLength"]:
            yield _broken(f"an earlier attempt's records are still delivered at s3://{bucket}/{key}")


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])
