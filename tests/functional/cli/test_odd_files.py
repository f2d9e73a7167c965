"""What Custody did not write into the audit bucket: it is told, and hides nothing else."""

import gzip
import json
import re
from typing import Any

import pytest

from custody.audit.reader import Unreadable
from functions.shared.model.keys import LedgerKey
from tests.support.audit_files import DAY, Run, chosen, delivered_in_part, posted, redriven_in_vain
from tests.support.buckets import Buckets

NOT_LETTERS = [
    (b"no JSON", "JSON is malformed"),
    (b"[]", "Expected `object`, got `array`"),
    (b"{}", "missing required field `format`"),
    (b"[" * 100_000, "Expected `object`"),
    ({"recorded_at": "yesterday"}, "`recorded_at` is not an ISO 8601 time"),
    ({"recorded_at": "2026-11-23T09:00:00"}, "`recorded_at` is not an ISO 8601 time"),
    ({"rejected": [{"position": 0}]}, r"missing required field .* - at `\$.rejected\[0\]`"),
    ({"attempt": 7}, "another object or attempt"),
    ({"object": "a.json"}, r"at `\$.object`"),
    ({"format": 2}, r"at `\$.format`"),
    ({"execution": {"arn": "x", "started_at": f"{DAY}T09:00:00Z", "console": ""}}, r"at `\$.execution.arn`"),
]


@pytest.mark.parametrize(("odd", "said"), NOT_LETTERS)
def test_a_dead_letter_that_custody_did_not_write_hides_no_other(
    buckets: Buckets, run: Run, odd: bytes | dict[str, Any], said: str
) -> None:
    good = posted(buckets, 1)
    bad = posted(buckets, 2)
    body = odd if isinstance(odd, bytes) else json.dumps(json.loads(buckets.body("audit", bad.key)) | odd).encode()
    buckets.s3.put_object(Bucket="audit", Key=bad.key, Body=body)

    shown = run()
    assert shown.exit_code == 1
    assert good.id in shown.stdout
    (line,) = (line for line in shown.stderr.splitlines() if bad.id in line)
    assert re.search(f"^unreadable: s3://audit/dead-letters/.* is not what Custody wrote: .*{said}", line)
    assert "1 unreadable; 1 open dead letter." in shown.stderr

    document = run("--json")
    assert document.exit_code == 1
    told = json.loads(document.stdout)
    assert [each["id"] for each in told["dead_letters"]] == [good.id]
    assert [each["key"] for each in told["unreadable"]] == [bad.key]

    for command in (["show"], ["discard", "--reason", "any"]):
        refused = run(*command, bad.id)
        assert isinstance(refused.exception, Unreadable)
        assert json.loads(run(*command, bad.id, "--json").stdout)["unreadable"][0]["key"] == bad.key
    assert buckets.keys("audit", "ledger/") == []


@pytest.mark.parametrize("day", ["9999-99-99", "9999-12-31", "0000-00-00"])
def test_a_dead_letter_under_an_odd_day_hides_no_other(buckets: Buckets, run: Run, day: str) -> None:
    good, odd = posted(buckets, 1), posted(buckets, 2, day=day, recorded_at=f"{DAY}T09:00:01Z")
    is_a_day = day == "9999-12-31"

    shown = run("--since", "2026-11-23")

    assert good.id in shown.stdout
    if day.startswith("9"):
        assert (f"is not what Custody wrote: there is no day {day}" in shown.stderr) is not is_a_day
    assert (odd.id in run().output) is True
    assert run("show", odd.id).exit_code == (0 if is_a_day else 1)


def test_without_a_list_for_them_an_unreadable_dead_letter_is_raised(buckets: Buckets) -> None:
    buckets.s3.put_object(Bucket="audit", Key=posted(buckets).key, Body=b"")
    with pytest.raises(Unreadable):
        chosen(buckets)


@pytest.mark.parametrize(
    "odd", [b"", b"{}", gzip.compress(b"{}\n"), gzip.compress(b"[]"), gzip.compress(b"null")], ids=lambda _: "odd"
)
def test_an_odd_discard_file_closes_its_dead_letter_and_is_told(buckets: Buckets, run: Run, odd: bytes) -> None:
    closed, is_open = posted(buckets, 1), posted(buckets, 2)
    buckets.s3.put_object(Bucket="audit", Key=LedgerKey(closed.object_id, 0, 0, discards=True).key, Body=odd)

    assert chosen(buckets) == [is_open]
    shown = run("show", closed.id)
    assert shown.exit_code == 0, shown.exception
    assert "closed: it was discarded, but s3://audit/ledger/" in shown.stdout
    assert "is not what Custody wrote" in shown.stdout


@pytest.mark.parametrize(
    "odd", [b"", gzip.compress(b"{}\n"), gzip.compress(b"[]"), gzip.compress(b"{}")[:-9]], ids=lambda _: "odd"
)
def test_nothing_is_discarded_by_the_word_of_an_odd_ledger_file(buckets: Buckets, run: Run, odd: bytes) -> None:
    dead_letter = redriven_in_vain(buckets)
    buckets.s3.put_object(Bucket="audit", Key=(key := LedgerKey(dead_letter.object_id, 0, 0).key), Body=odd)

    refused = run("discard", dead_letter.id, "--reason", "any", "--json")

    assert isinstance(refused.exception, Unreadable)
    assert json.loads(refused.stdout)["unreadable"][0]["key"] == key
    assert not any("discarded" in key for key in buckets.keys("audit"))


def test_a_dead_letter_that_points_beyond_its_object_is_shown_without_bytes(buckets: Buckets, run: Run) -> None:
    dead_letter = delivered_in_part(buckets)
    body = buckets.dead_letter()
    body["rejected"][0]["offset"] = 10_000
    buckets.s3.put_object(Bucket="audit", Key=dead_letter.key, Body=json.dumps(body).encode())
    shown = run("show", dead_letter.id)
    assert shown.exit_code == 0, shown.exception
    assert "their hash differs" in shown.stdout
