"""Files in the audit bucket that Custody did not write are reported, and hide nothing else."""

import gzip
import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from custody.audit.reader import Unreadable
from custody.errors import SOME_WITHOUT_OUTCOME
from functions.shared.model.keys import LedgerKey
from tests.support.audit_files import DAY, Run, chosen, posted, put, redriven_in_vain
from tests.support.buckets import Buckets
from tests.support.command_line import CommandLine, refusal
from tests.support.executions import Machine, commit, post

FOREIGN = [
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


@pytest.mark.parametrize(("change", "message"), FOREIGN)
def test_a_foreign_dead_letter_hides_no_other(
    buckets: Buckets, run: Run, change: bytes | dict[str, Any], message: str
) -> None:
    good = posted(buckets, 1)
    bad = posted(buckets, 2)
    put(buckets, bad, change if isinstance(change, bytes) else json.loads(buckets.body("audit", bad.key)) | change)

    shown = run()
    assert shown.exit_code == 1
    assert good.id in shown.stdout
    (line,) = (line for line in shown.stderr.splitlines() if bad.id in line)
    assert re.search(f"^unreadable: s3://audit/dead-letters/.* is not what Custody wrote: .*{message}", line)
    assert "1 unreadable; 1 open dead letter\n" in shown.stderr

    listed = run("--json")
    assert listed.exit_code == 1
    document = json.loads(listed.stdout)
    assert [each["id"] for each in document["dead_letters"]] == [good.id]
    assert [each["key"] for each in document["unreadable"]] == [bad.key]

    for command in (["show"], ["discard", "--reason", "any"]):
        refused = run(*command, bad.id)
        assert isinstance(refused.exception, Unreadable)
    assert buckets.keys("audit", "ledger/") == []


def test_an_object_of_which_only_an_unreadable_dead_letter_is_left_is_not_said_to_have_none(
    buckets: Buckets, command_line: CommandLine
) -> None:
    put(buckets, bad := posted(buckets), b"no JSON")
    assert bad.id in refusal(command_line.run("trace", bad.object_id), SOME_WITHOUT_OUTCOME)


@pytest.mark.parametrize("day", ["9999-99-99", "0000-00-00"])
def test_a_dead_letter_under_an_impossible_day_hides_no_other(buckets: Buckets, run: Run, day: str) -> None:
    good, bad = posted(buckets, 1), posted(buckets, 2, day=day, recorded_at=f"{DAY}T09:00:01Z")
    assert good.id in run("--since", "2026-11-23").stdout
    assert bad.id in run().stdout


def test_without_a_list_for_them_an_unreadable_dead_letter_is_raised(buckets: Buckets) -> None:
    buckets.put("audit", posted(buckets).key, b"")
    with pytest.raises(Unreadable):
        chosen(buckets)


@pytest.mark.parametrize(
    "body", [b"", b"{}", gzip.compress(b"{}\n"), gzip.compress(b"[]"), gzip.compress(b"null")], ids=lambda _: "body"
)
def test_a_foreign_discard_resolves_its_dead_letter_and_is_reported(buckets: Buckets, run: Run, body: bytes) -> None:
    resolved, is_open = posted(buckets, 1), posted(buckets, 2)
    buckets.put("audit", LedgerKey(resolved.object_id, 0, 0, discards=True).key, body)

    assert chosen(buckets) == [is_open]
    shown = run("show", resolved.id)
    assert shown.exit_code == 0, shown.exception
    assert "resolved: discarded by an unknown user: s3://audit/ledger/" in shown.stdout
    assert "is not what Custody wrote" in shown.stdout


@pytest.mark.parametrize(
    "body", [b"", gzip.compress(b"{}\n"), gzip.compress(b"[]"), gzip.compress(b"{}")[:-9]], ids=lambda _: "body"
)
def test_nothing_is_discarded_on_the_basis_of_a_foreign_ledger_file(buckets: Buckets, run: Run, body: bytes) -> None:
    dead_letter = redriven_in_vain(buckets)
    buckets.put("audit", key := LedgerKey(dead_letter.object_id, 0, 0).key, body)

    refused = run("discard", dead_letter.id, "--reason", "any", "--json")

    assert isinstance(refused.exception, Unreadable)
    assert refused.exception.key == key
    assert json.loads(refused.stdout) == {"discards": [], "refused": [], "still_open": 1}
    assert "run the same command again" not in refused.stderr
    assert not any("discarded" in key for key in buckets.keys("audit"))


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidObjectState", "NoSuchKey", "KMS.DisabledException"])
def test_an_inaccessible_file_is_named_and_hides_no_other(
    buckets: Buckets, run: Run, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    good, bad = posted(buckets, 1), posted(buckets, 2)
    get_object = buckets.s3.get_object

    def refuse(**request: Any) -> Any:
        if request["Key"] == bad.key:
            raise ClientError({"Error": {"Code": code, "Message": "refused by a test"}}, "GetObject")
        return get_object(**request)

    monkeypatch.setattr(buckets.s3, "get_object", refuse)
    shown = run()
    assert (shown.exit_code, good.id in shown.stdout) == (1, True)
    assert f"unreadable: s3://audit/{bad.key} cannot be read: " in shown.stderr


def test_an_impossible_attempt_does_not_keep_a_trace_busy(
    buckets: Buckets, command_line: CommandLine, machine: Machine
) -> None:
    batch = replace(buckets.upload("mission/a.json", b"{}"), attempt=10**6)
    machine.add(batch, name=batch.object.id)
    post(buckets, batch)
    commit(buckets, batch)
    assert command_line.run("trace", batch.object.id).exit_code == 0
    assert command_line.run("dead-letters", "show", batch.object.id).exit_code == 0
    assert machine.calls["DescribeExecution"] < 500
