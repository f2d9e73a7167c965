"""Validate: what it reads, what it passes on, and what it refuses."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from msgspec.structs import replace

from functions.shared import aws
from functions.shared.errors import (
    AccessRefused,
    KmsKeyRefused,
    ObjectArchived,
    ObjectMissing,
    ObjectTooLarge,
    ServiceUnavailable,
    UnknownDataset,
)
from functions.validate import handler
from tests.support.buckets import Buckets
from tests.support.stages import BAD, GOOD, call, validated


def test_a_small_batch_travels_inline(buckets: Buckets) -> None:
    message = validated(buckets, "mission/a.json", GOOD)

    assert message["records"][0]["document"] == json.loads(GOOD)
    assert message["dataset"] == "mission"
    assert message["code"] == {"validate": "0123456789ab"}
    assert buckets.keys("staging") == []


def test_with_inline_off_the_message_has_no_documents(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, inline_limit_bytes=0))
    message = validated(buckets, "mission/a.json", GOOD)

    assert "MASINT" not in json.dumps(message)
    assert message["counts"] == {"received": 1, "written": 0, "rejected": 0}
    assert message["claim"] == {"raw": True, "rejected": None}, "the records stay in the raw bucket"
    assert buckets.keys("staging") == []


def test_the_size_of_inline_records_counts_every_escape(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(json.loads(GOOD) | {"note": "ü" * 100}, ensure_ascii=False).encode()
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, inline_limit_bytes=2 * len(body)))

    assert "claim" in validated(buckets, "mission/a.json", body)


def test_a_key_without_a_folder_belongs_to_the_default_dataset(buckets: Buckets) -> None:
    assert validated(buckets, "a.json", GOOD)["dataset"] == "mission"


def test_unknown_fields_are_kept(buckets: Buckets) -> None:
    body = GOOD[:-1] + b', "sensor": {"id": 7}}'
    assert validated(buckets, "mission/a.json", body)["records"][0]["document"]["sensor"] == {"id": 7}


def test_the_exact_version_is_read_even_if_there_is_a_newer_one(buckets: Buckets) -> None:
    first = buckets.upload("mission/a.json", GOOD)
    buckets.upload("mission/a.json", BAD)
    message = call("Validate", first.encode())
    assert message["records"][0]["document"]["source"] == "MASINT"


def test_an_object_above_the_limit_is_refused_unread(buckets: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "ENVIRONMENT", replace(handler.ENVIRONMENT, document_limit_bytes=10))
    with pytest.raises(ObjectTooLarge, match="document_limit_bytes") as refused:
        validated(buckets, "mission/a.json", GOOD)
    assert "Split the object" in refused.value.advice


@pytest.mark.parametrize("dataset", ["unknown", "..", "mission ", "MISSION"])
def test_an_unknown_dataset_is_refused(buckets: Buckets, dataset: str) -> None:
    with pytest.raises(UnknownDataset, match=rf"'{dataset}' has no contract; known datasets: mission"):
        validated(buckets, f"{dataset}/a.json", GOOD)
    with pytest.raises(UnknownDataset, match="the key starts with a slash"):
        validated(buckets, f"/{dataset}/a.json", GOOD)


def test_a_deleted_version_is_a_missing_object(buckets: Buckets) -> None:
    batch = buckets.upload("mission/a.json", GOOD)
    buckets.s3.delete_object(Bucket="raw", Key="mission/a.json", VersionId=batch.object.version_id)
    with pytest.raises(ObjectMissing, match=r"mission/a\.json version"):
        call("Validate", batch.encode())


ARCHIVED = {"Code": "InvalidObjectState", "StorageClass": "GLACIER"}
NO_KEY = {"Code": "AccessDenied", "Message": "not authorized to perform: kms:Decrypt on resource: arn:aws:kms:…"}
NO_OBJECT = {"Code": "AccessDenied", "Message": "not authorized to perform: s3:GetObjectVersion"}


@pytest.mark.parametrize(
    ("answer", "status", "error", "message"),
    [
        (ARCHIVED, 403, ObjectArchived, r"\(GLACIER\); restore it, then redrive"),
        (ARCHIVED | {"AccessTier": "ARCHIVE_ACCESS"}, 403, ObjectArchived, r"\(ARCHIVE_ACCESS\); restore it"),
        (NO_KEY, 403, KmsKeyRefused, "kms:Decrypt"),
        ({"Code": "KMS.DisabledException", "Message": "it is disabled"}, 400, KmsKeyRefused, "it is disabled"),
        (NO_OBJECT, 403, AccessRefused, "s3:GetObjectVersion"),
        ({"Code": "KMS.ThrottlingException"}, 400, ServiceUnavailable, "KMS.Throttling"),
    ],
)
def test_a_refusal_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, answer: Any, status: int, error: type[Exception], message: str
) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": answer, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")  # type: ignore[typeddict-item]  # the stub wants more

    monkeypatch.setattr(aws, "_s3", lambda: SimpleNamespace(get_object=refuse))
    with pytest.raises(error, match=message):
        aws.read("raw", "mission/a.json")
