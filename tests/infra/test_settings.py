"""Settings: what `-c name=value` accepts, and where it takes effect."""

import json

import pytest

from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk
from infra.checks import datasets
from infra.settings import FUNCTIONS, LONGEST_DAYS, REDRIVE_DAYS, SCHEMA, SettingRefused, Settings, parse
from tests.support.steps import BULK
from tests.support.template import ACCOUNT, EXISTING, Deployment


def test_strings_of_the_command_line_become_values_and_those_of_cdk_json_stay_as_they_are() -> None:
    given = parse({"env": "prod", "local": "true", "staging_days": "30", "tolerated_rejects_percent": "2.5"})

    assert (given.env, given.local, given.staging_days, given.tolerated_rejects_percent) == ("prod", True, 30, 2.5)
    assert given.log_days == Settings().log_days, "what is not given has its default"
    assert parse({"local": True, "inline_limit_bytes": 0}) == parse({"local": "true", "inline_limit_bytes": "0"})


def test_keys_of_the_cdk_are_ignored() -> None:
    context = {
        "@aws-cdk/core:checkSecretUsage": True,
        "aws:cdk:enable-path-metadata": True,
        "aws-cdk:enableDiffNoFail": "true",
        "acknowledged-issue-numbers": [32775],
        "availability-zones:account=111122223333:region=eu-west-1": ["eu-west-1a"],
    }

    assert parse(context) == parse({})


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("env", "Prod", "1 to 12 lower-case letters and digits, a letter first"),
        ("env", "much-too-long-a-name", "1 to 12 lower-case letters and digits, a letter first"),
        ("env", "dev\n", "1 to 12 lower-case letters and digits, a letter first"),
        ("local", "yes", "true or false"),
        ("staging_days", "14", "a whole number from 18 to 3650"),
        ("staging_days", "21.5", "a whole number from 18 to 3650"),
        ("staging_days", True, "a whole number from 18 to 3650"),
        ("inline_limit_bytes", "-1", "a whole number from 0 to 131072"),
        ("tolerated_rejects_percent", "101", "a number from 0 to 100"),
        ("tolerated_rejects_percent", "nan", "a number from 0 to 100"),
        ("audit_lock", "legal", "one of auto, compliance, governance, off"),
        ("log_days", "91", "one of 1, 3, 5, 7, 14, 30, 60, 90, 120"),
        ("alarm_email", "somebody", "an e-mail address"),
        ("validate_timeout_seconds", "", "a whole number from 1 to 320"),
        ("start_concurrency", "-1", "a whole number from 0 to 1000000"),
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
        ("raw_key_arn", "alias/theirs", "the ARN of a KMS key, arn:…:key/…, not of an alias"),
        ("raw_key_arn", "arn:aws:kms:eu-west-1:111122223333:alias/theirs", "the ARN of a KMS key"),
    ],
)
def test_a_value_that_is_not_allowed_is_reported_with_the_allowed_ones(name: str, value: object, allowed: str) -> None:
    with pytest.raises(SettingRefused) as refused:
        parse({name: value})

    assert f"Setting {name} cannot be {value!r}. It must be {allowed}" in str(refused.value)


def test_an_unknown_setting_is_reported_with_the_known_ones() -> None:
    with pytest.raises(SettingRefused, match=r"Unknown setting 'tolerated_reject_percent'.*tolerated_rejects_percent"):
        parse({"tolerated_reject_percent": "5"})


@pytest.mark.parametrize("name", ["raw_prefix", "raw_key_arn"])
def test_settings_of_an_existing_raw_bucket_require_its_name(name: str) -> None:
    with pytest.raises(SettingRefused, match=f"Setting {name} requires raw_bucket, which is not set"):
        parse({name: EXISTING[name]})
    assert getattr(parse(EXISTING), name) == EXISTING[name]


@pytest.mark.parametrize("bucket", ["staging", "processed", "audit", "access-logs"])
def test_a_bucket_that_the_environment_writes_to_cannot_be_its_raw_bucket(bucket: str) -> None:
    name = f"custody-prod-{bucket}-111122223333-eu-west-1"
    with pytest.raises(SettingRefused, match="would process its own output forever"):
        parse({"env": "prod", "raw_bucket": name})
    assert parse({"env": "dev", "raw_bucket": name}).raw_bucket == name, "another environment may continue from there"


def test_the_raw_bucket_of_the_stack_cannot_become_an_existing_one() -> None:
    name = "custody-{}-raw-111122223333-eu-west-1-an"
    assert parse({"env": "dev", "raw_bucket": name.format("prod")}).raw_bucket == name.format("prod")
    for env in ("prod", "dev"):
        with pytest.raises(SettingRefused, match="Leave raw_bucket unset to use it"):
            parse({"env": env, "raw_bucket": name.format(env)})


@pytest.mark.parametrize("name", ["their.bucket", "1.2.3", "10.0.0.1.backup", "s3alias", "mrap"])
def test_a_name_that_only_looks_reserved_is_allowed(name: str) -> None:
    assert parse({"raw_bucket": name}).raw_bucket == name


def test_a_reserve_smaller_than_the_concurrency_of_the_buffer_is_refused() -> None:
    with pytest.raises(SettingRefused, match=r"start_concurrency cannot be 9 .* buffer_concurrency is 10"):
        parse({"buffered": "true", "start_concurrency": "9"})
    assert parse({"buffered": "true", "start_concurrency": "10"}).size("start").concurrency == 10
    assert parse({"start_concurrency": "9"}).size("start").concurrency == 9


def test_every_default_is_allowed_and_staged_batches_outlive_the_time_to_redrive_an_execution() -> None:
    for name in SCHEMA:
        assert parse({name: getattr(parse({}), name)}) == parse({})
    assert BULK["TimeoutSeconds"] == LONGEST_DAYS * 86_400
    with pytest.raises(SettingRefused, match="staging_days"):
        parse({"staging_days": REDRIVE_DAYS + LONGEST_DAYS})


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
def test_the_audit_bucket_is_locked_in_prod_by_default(context: dict[str, str], mode: str | None) -> None:
    assert parse(context).lock_mode == mode


@pytest.mark.parametrize(("chunk_bytes", "storage"), [("67108864", 512), ("1073741824", 8192)])
def test_the_steps_have_storage_for_a_chunk(chunk_bytes: str, storage: int) -> None:
    settings = parse({"chunk_bytes": chunk_bytes})
    assert settings.size("write").storage_mb == settings.size("transform").storage_mb == storage
    assert settings.size("start").storage_mb == 512


CONCURRENCY = {name: number for number, name in enumerate(FUNCTIONS, start=25)}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    settings = {
        "buffered": "true",
        "buffer_concurrency": "25",
        "default_dataset": "other",
        "inline_limit_bytes": "0",
        "document_limit_bytes": "1000",
        "chunk_bytes": "2000000",
        "chunk_concurrency": "7",
        "tolerated_rejects_percent": "2.5",
        "start_timeout_seconds": "900",
        "write_memory_mb": "2048",
        "write_timeout_seconds": "120",
        "log_days": "30",
        "alarm_email": "ops@example.com",
        "audit_lock": "compliance",
        "audit_lock_days": "30",
        **{f"{name}_concurrency": str(number) for name, number in CONCURRENCY.items()},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "check", lambda *_: None)  # only one dataset exists
        return Deployment.synthesise(settings, tmp_path_factory.mktemp("tuned"))


def test_settings_reach_the_functions(tuned: Deployment) -> None:
    variables = {name: tuned.function(name)["Environment"]["Variables"] for name in FUNCTIONS}

    assert variables["validate"]["DEFAULT_DATASET"] == "other"
    assert variables["validate"]["INLINE_LIMIT_BYTES"] == variables["transform"]["INLINE_LIMIT_BYTES"] == "0"
    assert variables["validate"]["DOCUMENT_LIMIT_BYTES"] == variables["transform"]["DOCUMENT_LIMIT_BYTES"] == "1000"
    assert {variables[name]["CHUNK_BYTES"] for name in ("start", "validate", "transform")} == {"2000000"}
    assert {variables[name]["TOLERATED_REJECTS_PERCENT"] for name in ("write", "summarize")} == {"2.5"}
    assert (tuned.function("write")["MemorySize"], tuned.function("write")["Timeout"]) == (2048, 120)
    assert {name: tuned.function(name)["ReservedConcurrentExecutions"] for name in FUNCTIONS} == CONCURRENCY


def test_settings_reach_everything_else(tuned: Deployment) -> None:
    (mapping,) = tuned.of_type("AWS::Lambda::EventSourceMapping").values()

    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 25}
    assert tuned.of_type("AWS::SQS::Queue")[tuned.buffer]["VisibilityTimeout"] == 6 * 900
    assert json.loads(tuned.definition("bulk"))["States"]["ProcessChunks"]["MaxConcurrency"] == 7
    assert {group["RetentionInDays"] for group in tuned.of_type("AWS::Logs::LogGroup").values()} == {30}
    assert [each["Endpoint"] for each in tuned.of_type("AWS::SNS::Subscription").values()] == ["ops@example.com"]


def test_a_locked_audit_bucket_outlives_its_stack_even_in_dev(tuned: Deployment) -> None:
    (bucket,) = (each for each in tuned.resources.values() if "ObjectLockEnabled" in each.get("Properties", {}))
    assert bucket["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]["Mode"] == "COMPLIANCE"
    assert bucket["DeletionPolicy"] == "RetainExceptOnCreate"
    emptied = [each["BucketName"] for each in tuned.of_type("Custom::S3AutoDeleteObjects").values()]
    assert tuned.bucket("audit") not in emptied
    (key,) = (each for each in tuned.resources.values() if each["Type"] == "AWS::KMS::Key")
    assert key["DeletionPolicy"] == "RetainExceptOnCreate", "what is kept can be read"


@pytest.mark.parametrize("character", ["\u20ac", '"', "\\"])
def test_the_largest_inline_batch_fits_into_a_state_with_the_cause_of_a_failure(character: str) -> None:
    """As the input of DeadLetter, with a key and a cause that take as many bytes as they can."""
    arn = f"arn:aws-us-gov:states:us-gov-west-1:{ACCOUNT}:execution:custody-abcdefghijkl-bulk/ProcessChunks:{'a' * 80}"
    raw = RawObject("b" * 63, "\x01" * 1024, "v" * 1024, 2**40, "e" * 40)
    head = Batch(raw, Chunk(2**40, 2**30), attempt=999, redrive_of=arn, parent=arn).encode()
    records = "r" * SCHEMA["inline_limit_bytes"]["maximum"]
    failure = {"Validate": {"Error": "E" * 256, "Cause": character * 32_768}}
    batch = {**head, "contract": "c" * 1024, "records": records, "failure": failure}
    payload = {"resumable": True, "batch": batch, "execution": {"Id": arn, "Input": head, "RoleArn": arn}, "state": "s"}

    assert len(json.dumps(payload, ensure_ascii=False).encode()) <= 262_144
