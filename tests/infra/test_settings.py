"""Settings: what `-c name=value` may say."""

from dataclasses import fields

import pytest

from infra.settings import REDRIVE_DAYS, SettingRefused, Settings, parse
from tests.infra.conftest import THEIRS


def test_without_context_the_defaults_hold() -> None:
    assert parse({}) == Settings()


def test_strings_of_the_command_line_become_values() -> None:
    given = parse({"env": "prod", "local": "true", "staging_days": "30", "tolerated_rejects_percent": "2.5"})

    assert given == Settings(env="prod", local=True, staging_days=30, tolerated_rejects_percent=2.5)


def test_values_of_cdk_json_are_taken_as_they_are() -> None:
    assert parse({"local": True, "inline_limit_bytes": 0}) == Settings(local=True, inline_limit_bytes=0)


def test_the_keys_of_cdk_itself_are_none_of_our_business() -> None:
    context = {
        "@aws-cdk/core:checkSecretUsage": True,
        "aws:cdk:enable-path-metadata": True,
        "aws-cdk:enableDiffNoFail": "true",
        "acknowledged-issue-numbers": [32775],
        "availability-zones:account=111122223333:region=eu-west-1": ["eu-west-1a"],
    }

    assert parse(context) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("env", "Prod", "1 to 12 lower-case letters and digits, a letter first"),
        ("env", "much-too-long-a-name", "1 to 12 lower-case letters and digits, a letter first"),
        ("local", "yes", "true or false"),
        ("staging_days", "14", "a whole number from 15 to 3650"),
        ("staging_days", "21.5", "a whole number from 15 to 3650"),
        ("staging_days", True, "a whole number from 15 to 3650"),
        ("inline_limit_bytes", "-1", "a whole number from 0 to 196608"),
        ("tolerated_rejects_percent", "101", "a number from 0 to 100"),
        ("tolerated_rejects_percent", "nan", "a number from 0 to 100"),
        ("audit_lock", "legal", "one of auto, off, governance, compliance"),
        ("log_days", "91", "one of 1, 3, 5, 7, 14, 30, 60, 90, 120"),
        ("alarm_email", "somebody", "an e-mail address"),
        ("validate_timeout_seconds", "", "a whole number from 1 to 320"),
        ("start_concurrency", None, "a whole number from 0 to 1000000"),
        ("buffered", "yes", "true or false"),
        ("buffer_concurrency", "1", "a whole number from 2 to 1000"),
        ("chunk_concurrency", "0", "a whole number from 1 to 10000"),
        ("chunk_bytes", "1048575", "a whole number from 1048576 to 1073741824"),
        ("raw_bucket", "Their_Bucket", "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens"),
        ("raw_bucket", "arn:aws:s3:::their-bucket", "the name of a bucket"),
        ("raw_bucket", "their..bucket", "the name of a bucket"),
        ("raw_bucket", "192.168.5.4", "the name of a bucket"),
        ("raw_bucket", "their-alias-s3alias", "the name of a bucket"),
        ("raw_bucket", "their-bucket--usw2-az1--x-s3", "the name of a bucket"),
        ("raw_bucket", "their-lambda--ol-s3", "the name of a bucket"),
        ("raw_bucket", "theirs.mrap", "the name of a bucket"),
        ("raw_bucket", "theirs--table-s3", "the name of a bucket"),
        ("raw_prefix", "incoming", "folders that end with a slash, such as incoming/"),
        ("raw_prefix", "/incoming/", "folders that end with a slash"),
        ("raw_prefix", "incoming/*/", "folders that end with a slash"),
        ("raw_prefix", "a" * 512 + "/", "folders that end with a slash"),
        ("raw_key_arn", "alias/theirs", "the ARN of a KMS key, arn:…:key/…; an alias is none"),
        ("raw_key_arn", "arn:aws:kms:eu-west-1:111122223333:alias/theirs", "the ARN of a KMS key"),
    ],
)
def test_a_value_that_is_not_allowed_is_named_with_what_is(name: str, value: object, allowed: str) -> None:
    with pytest.raises(SettingRefused) as refused:
        parse({name: value})

    assert f"Setting {name} cannot be {value!r}. It must be {allowed}" in str(refused.value)


def test_a_setting_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(SettingRefused) as refused:
        parse({"tolerated_reject_percent": "5"})

    assert "'tolerated_reject_percent' is not known" in str(refused.value)
    assert "tolerated_rejects_percent" in str(refused.value)


def test_what_tells_of_an_existing_raw_bucket_is_refused_without_its_name() -> None:
    for name, value in {"raw_prefix": "incoming/", "raw_key_arn": THEIRS["raw_key_arn"]}.items():
        with pytest.raises(SettingRefused, match=f"Setting {name} goes with raw_bucket, which is not set"):
            parse({name: value})
    assert parse(THEIRS).raw_prefix == "incoming/"


@pytest.mark.parametrize("bucket", ["staging", "processed", "audit", "access-logs"])
def test_a_bucket_that_the_environment_writes_to_is_refused_as_the_raw_one_for_it_would_never_end(bucket: str) -> None:
    name = f"custody-prod-{bucket}-111122223333-eu-west-1"
    with pytest.raises(SettingRefused, match="would process what it has made without end"):
        parse({"env": "prod", "raw_bucket": name})
    assert parse({"env": "dev", "raw_bucket": name}).raw_bucket == name, "another environment may go on from there"


def test_the_raw_bucket_that_the_stack_once_made_may_be_taken_as_an_existing_one_where_it_is_kept() -> None:
    name = "custody-{}-raw-111122223333-eu-west-1"
    assert parse({"env": "prod", "raw_bucket": name.format("prod")}).raw_bucket == name.format("prod")
    assert parse({"env": "dev", "raw_bucket": name.format("prod")}).raw_bucket == name.format("prod")
    for context in ({"env": "dev"}, {"env": "prod", "local": "true"}):
        with pytest.raises(SettingRefused, match="deletes it with all that is in it"):
            parse({**context, "raw_bucket": name.format(context["env"])})


@pytest.mark.parametrize("name", ["their.bucket", "1.2.3", "10.0.0.1.backup", "s3alias", "mrap"])
def test_a_name_that_only_looks_reserved_is_none(name: str) -> None:
    assert parse({"raw_bucket": name}).raw_bucket == name


@pytest.mark.parametrize("name", [setting.name for setting in fields(Settings)])
def test_every_default_is_itself_allowed(name: str) -> None:
    default = getattr(Settings(), name)

    assert default is None or parse({name: default}) == Settings()


def test_staged_batches_outlive_the_time_in_which_an_execution_can_be_redriven() -> None:
    assert Settings().staging_days > REDRIVE_DAYS


@pytest.mark.parametrize(
    ("context", "mode"),
    [
        ({"env": "prod"}, "governance"),
        ({"env": "dev"}, None),
        ({"env": "prod", "local": "true"}, None),
        ({"env": "prod", "audit_lock": "compliance"}, "compliance"),
        ({"env": "prod", "audit_lock": "off"}, None),
        ({"env": "dev", "audit_lock": "governance"}, "governance"),
    ],
)
def test_the_audit_bucket_is_locked_in_prod_unless_told_otherwise(context: dict[str, str], mode: str | None) -> None:
    assert parse(context).lock_mode == mode


@pytest.mark.parametrize(("chunk_bytes", "storage"), [("67108864", 512), ("1073741824", 8192)])
def test_the_steps_of_a_batch_have_bucket_for_what_a_chunk_becomes(chunk_bytes: str, storage: int) -> None:
    settings = parse({"chunk_bytes": chunk_bytes})
    assert settings.size("write").storage_mb == settings.size("transform").storage_mb == storage
    assert settings.size("start").storage_mb == 512
