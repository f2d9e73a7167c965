"""A bulk object is verified chunk by chunk, and its summary against the ledger files of its chunks."""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from custody.assurance.verify import Verdict, holdings, verdicts
from functions.shared.model.keys import WHOLE, LedgerKey
from tests.support.buckets import Buckets, parse_ledger_file
from tests.support.bulk import Bulk, lines

Change = Callable[[Any, list[Any]], None]


def the_verdict(buckets: Buckets) -> Verdict:
    (verdict,) = verdicts(buckets.s3, "audit", holdings(buckets.s3, "audit"))
    return verdict


def rewrite(buckets: Buckets, entry: LedgerKey, change: Change) -> None:
    """Change a ledger file as if it had been written so: its old version is destroyed."""
    header, found = parse_ledger_file(buckets.body("audit", entry.key))
    change(header, found)
    for version in buckets.s3.list_object_versions(Bucket="audit", Prefix=entry.key)["Versions"]:
        buckets.s3.delete_object(Bucket="audit", Key=entry.key, VersionId=version["VersionId"])
    body = b"".join(json.dumps(line).encode() + b"\n" for line in [header, *found])
    buckets.s3.put_object(Bucket="audit", Key=entry.key, Body=gzip.compress(body))


@pytest.fixture
def bulk(buckets: Buckets) -> Bulk:
    """Give an object of seven chunks: that at 200 rejected a record."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    assert bulk.run() == "RecordsRejected"
    return bulk


def test_what_nobody_touched_holds(bulk: Bulk) -> None:
    assert the_verdict(bulk.buckets).encode() == {"object": bulk.id, "result": "holds", "records": 20, "where": []}


def test_an_object_in_the_making_and_one_with_failed_chunks_hold_so_far(buckets: Buckets) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.chunk(0)
    assert str(the_verdict(buckets).result) == "holds", "there is no summary yet"
    for start in bulk.starts[1:]:
        bulk.chunk(start, fails=start == 400)
    assert bulk.close() == "ChunksFailed"
    assert str(the_verdict(buckets).result) == "holds"
    bulk.again(400).run()
    assert the_verdict(buckets).encode() == {"object": bulk.id, "result": "holds", "records": 20, "where": []}


def test_a_changed_byte_of_one_chunk_is_found_there(bulk: Bulk) -> None:
    key = next(key for key in bulk.buckets.keys("processed") if ".000000000000600." in key)
    body = bulk.buckets.body("processed", key)
    bulk.buckets.s3.put_object(Bucket="processed", Key=key, Body=body.replace(b"space", b"spice", 1))
    verdict = the_verdict(bulk.buckets)
    assert str(verdict.result) == "broken"
    assert verdict.where[1] == (
        f"record {bulk.id}.609: its line in the processed object is not the one that was written"
    )


def counts_more(header: Any, found: list[Any]) -> None:
    header["counts"]["written"] += 1
    header["counts"]["received"] += 1
    del found


def counts_a_chunk_otherwise(header: Any, found: list[Any]) -> None:
    for counts in (header["counts"], found[0]["counts"]):
        counts["written"] += 1
        counts["received"] += 1


def leaves_out_a_chunk(header: Any, found: list[Any]) -> None:
    header["chunks"] = {"total": 6, "committed": 6, "failed": 0}
    counts = found.pop()["counts"]
    assert counts["received"] == 0, "so that only the tiling tells"


def swaps_two_chunks(header: Any, found: list[Any]) -> None:
    del header
    found[0], found[1] = found[1], found[0]


def tells_of_an_attempt_that_was_not(header: Any, found: list[Any]) -> None:
    del header
    found[0]["attempt"] = 1


def counts_chunks_otherwise(header: Any, found: list[Any]) -> None:
    header["chunks"]["committed"] -= 1
    del found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (counts_more, "but its lines"),
        (counts_chunks_otherwise, "but its lines"),
        (counts_a_chunk_otherwise, "for the chunk at byte 0, attempt 0, but its ledger file"),
        (leaves_out_a_chunk, "does not tell of each chunk of the object once"),
        (swaps_two_chunks, "does not tell of each chunk of the object once, in their order"),
        (tells_of_an_attempt_that_was_not, "tells of the chunk at byte 0, attempt 1, but that has no ledger file"),
        (lambda header, _: header.pop("chunk_bytes"), "cannot be read: Object missing required field `chunk_bytes`"),
        (lambda _, found: found.append({"outcome": "lost"}), "cannot be read: line 9: "),
    ],
)
def test_a_summary_that_does_not_agree_with_its_chunks_is_broken(bulk: Bulk, change: Change, said: str) -> None:
    rewrite(bulk.buckets, LedgerKey(bulk.id, WHOLE, 0), change)
    verdict = the_verdict(bulk.buckets)
    assert str(verdict.result) == "broken"
    assert said in verdict.where[0]
    assert verdict.records == 20


def test_a_chunk_whose_ledger_file_was_destroyed_is_missed(bulk: Bulk) -> None:
    key = LedgerKey(bulk.id, 400, 0).key
    for version in bulk.buckets.s3.list_object_versions(Bucket="audit", Prefix=key)["Versions"]:
        bulk.buckets.s3.delete_object(Bucket="audit", Key=key, VersionId=version["VersionId"])
    assert (
        "tells of the chunk at byte 400, attempt 0, but that has no ledger file" in the_verdict(bulk.buckets).where[0]
    )


def claims_a_record_of_another(header: Any, found: list[Any]) -> None:
    del header
    found[-1]["position"] += 200


def test_a_record_that_begins_in_another_chunk_is_claimed_by_one_alone(bulk: Bulk) -> None:
    rewrite(bulk.buckets, LedgerKey(bulk.id, 0, 0), claims_a_record_of_another)
    assert "claims a record that does not begin in its chunk" in the_verdict(bulk.buckets).where[0]


def test_a_ledger_file_of_a_chunk_that_is_none_is_told(bulk: Bulk) -> None:
    entry = LedgerKey(bulk.id, 100, 0)
    bulk.buckets.s3.put_object(
        Bucket="audit", Key=entry.key, Body=bulk.buckets.body("audit", LedgerKey(bulk.id, 0, 0).key)
    )
    where = " ".join(the_verdict(bulk.buckets).where)
    assert "there is a ledger file of a chunk that the object is not cut into, at byte 100" in where
