"""A bulk object is verified chunk by chunk, and its summary against the ledger files of its chunks."""

from typing import Any

import pytest

from custody.assurance.findings import ObjectVerdict, Result
from functions.shared.model.keys import WHOLE, LedgerKey
from tests.support.buckets import Buckets
from tests.support.bulk import Bulk, lines
from tests.support.ledger_files import Change, forget, rewrite, the_verdict


@pytest.fixture
def bulk(buckets: Buckets) -> Bulk:
    """Return an object of seven chunks, of which the one at 200 rejected a record."""
    bulk = Bulk.upload(buckets, lines(20, bad=(4,)))
    assert bulk.run() == "RecordsRejected"
    return bulk


def test_an_untouched_bulk_object_holds(bulk: Bulk) -> None:
    assert the_verdict(bulk.buckets) == ObjectVerdict(bulk.id, Result.HOLDS, 20, [])


def test_an_unfinished_object_and_one_with_failed_chunks_hold(buckets: Buckets) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    bulk.chunk(0)
    assert the_verdict(buckets).result == "holds", "there is no summary yet"
    for start in bulk.starts[1:]:
        bulk.chunk(start, fails=start == 400)
    assert bulk.close() == "ChunksFailed"
    assert the_verdict(buckets).result == "holds"
    bulk.again(400).run()
    assert the_verdict(buckets) == ObjectVerdict(bulk.id, Result.HOLDS, 20, [])


def test_a_changed_byte_is_reported_in_its_chunk(bulk: Bulk) -> None:
    key = next(key for key in bulk.buckets.keys("processed") if ".000000000000600." in key)
    body = bulk.buckets.body("processed", key)
    bulk.buckets.s3.put_object(Bucket="processed", Key=key, Body=body.replace(b"space", b"spice", 1))
    verdict = the_verdict(bulk.buckets)
    assert verdict.result == "broken"
    assert verdict.where[1] == (
        f"record {bulk.id}.609: its line in the processed object is not the one that was written"
    )


def counts_more(header: Any, found: list[Any]) -> None:
    header["counts"]["written"] += 1
    header["counts"]["received"] += 1
    del found


def miscounts_a_chunk(header: Any, found: list[Any]) -> None:
    for counts in (header["counts"], found[0]["counts"]):
        counts["written"] += 1
        counts["received"] += 1


def leaves_out_a_chunk(header: Any, found: list[Any]) -> None:
    header["chunks"] = {"total": 6, "committed": 6, "failed": 0}
    counts = found.pop()["counts"]
    assert counts["received"] == 0, "only the list of chunks differs"


def swaps_two_chunks(header: Any, found: list[Any]) -> None:
    del header
    found[0], found[1] = found[1], found[0]


def names_another_attempt(header: Any, found: list[Any]) -> None:
    del header
    found[0]["attempt"] = 1


def miscounts_chunks(header: Any, found: list[Any]) -> None:
    header["chunks"]["committed"] -= 1
    del found


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (counts_more, "but its lines"),
        (miscounts_chunks, "but its lines"),
        (miscounts_a_chunk, "for the chunk at byte 0, attempt 0, but its ledger file"),
        (leaves_out_a_chunk, "does not have each chunk of the object once"),
        (swaps_two_chunks, "does not have each chunk of the object once, in order"),
        (names_another_attempt, "has the chunk at byte 0, attempt 1, but there is no such ledger file"),
        (lambda header, _: header.pop("chunk_bytes"), "cannot be read: Object missing required field `chunk_bytes`"),
        (lambda _, found: found.append({"outcome": "lost"}), "cannot be read: line 9: "),
    ],
)
def test_a_summary_that_does_not_match_its_chunks_is_broken(bulk: Bulk, change: Change, message: str) -> None:
    rewrite(bulk.buckets, LedgerKey(bulk.id, WHOLE, 0), change)
    verdict = the_verdict(bulk.buckets)
    assert verdict.result == "broken"
    assert message in verdict.where[0]
    assert verdict.records == 20


def test_a_chunk_without_its_ledger_file_is_broken(bulk: Bulk) -> None:
    forget(bulk.buckets, "audit", LedgerKey(bulk.id, 400, 0).key)
    assert (
        "has the chunk at byte 400, attempt 0, but there is no such ledger file" in the_verdict(bulk.buckets).where[0]
    )


def claims_a_record_of_another_chunk(header: Any, found: list[Any]) -> None:
    del header
    found[-1]["position"] += 200


def test_a_chunk_may_not_claim_a_record_of_another(bulk: Bulk) -> None:
    rewrite(bulk.buckets, LedgerKey(bulk.id, 0, 0), claims_a_record_of_another_chunk)
    assert "claims a record that does not begin in its chunk" in the_verdict(bulk.buckets).where[0]


def test_a_ledger_file_of_a_chunk_that_does_not_exist_is_broken(bulk: Bulk) -> None:
    entry = LedgerKey(bulk.id, 100, 0)
    bulk.buckets.s3.put_object(
        Bucket="audit", Key=entry.key, Body=bulk.buckets.body("audit", LedgerKey(bulk.id, 0, 0).key)
    )
    where = " ".join(the_verdict(bulk.buckets).where)
    assert "there is a ledger file of a chunk that the object is not cut into, at byte 100" in where
