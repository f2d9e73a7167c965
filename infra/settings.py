"""The only tunables of a deployment: set one with `cdk deploy -c name=value`.

`make docs` lists them in docs/deploy.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

MIN_STORAGE_MB, MAX_STORAGE_MB = 512, 10_240
"""Temporary storage of a Lambda function
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html)."""

STORAGE_PER_CHUNK = 8
"""A step may write several times what it reads: small records have as many bytes of ledger, twice while it is built."""

LONGEST_DAYS = 3
"""How long an execution may take: TimeoutSeconds of statemachine/bulk.asl.json."""

REDRIVE_DAYS = 14
"""How long Step Functions can redrive an execution that has ended
(https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html)."""

WRITTEN_BUCKETS = ("staging", "processed", "audit", "access-logs")
"""The buckets that the pipeline itself writes to."""

LogDays = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
"""Retention periods of CloudWatch Logs
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html)."""

CDK_KEYS = ("acknowledged-issue-numbers", "cli-telemetry", "cdk-migrate")
"""Context keys of `cdk acknowledge`, `cdk cli-telemetry` and `cdk migrate`."""

ENV = r"^[a-z][a-z0-9]{0,11}\Z"
DATASET = r"^[0-9A-Za-z_-]{1,64}\Z"
"""The name of a dataset: a folder of keys, and a folder in datasets/."""

RAW_BUCKET = (
    r"^(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)"
    r"(?!.*\.\.)(?!([0-9]+\.){3}[0-9]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z"
)
"""The name of a bucket: not an IP address, and without the prefixes and suffixes that S3 reserves
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)."""

RAW_PREFIX = r"^(?=.{0,512}$)([0-9A-Za-z!_.'()=-]+/)*\Z"
"""Folders of a key, of characters that are safe in a key
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html) and have no meaning in a policy, as `*` has."""

RAW_KEY_ARN = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-z-]+\Z"
"""The ARN of a key; a policy cannot name an alias
(https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id)."""

SUFFIXES = r"^(?!.*\.gz(,|$))\.[a-z0-9._-]+(,\.[a-z0-9._-]+)*\Z"
"""Lower-case suffixes of keys; a gzipped object cannot be read from the middle."""

ALLOWED = {
    "json_lines_suffixes": "suffixes in lower case, separated by commas, such as .jsonl,.ndjson, none of which is .gz",
    "env": "1 to 12 lower-case letters and digits, a letter first",
    "default_dataset": "1 to 64 of 0-9, A-Z, a-z, _ and -",
    "raw_bucket": "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, none that S3 reserves",
    "raw_prefix": "folders that end with a slash, such as incoming/, of letters, digits and !_.'()=-",
    "raw_key_arn": "the ARN of a KMS key, arn:…:key/…, not of an alias",
    "alarm_email": "an e-mail address",
}
"""The patterns in words."""


class SettingRefused(ValueError):
    """A setting is unknown, or its value is not allowed."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a function is given: memory and temporary storage in MB, a timeout in seconds, reserved concurrency."""

    memory_mb: int
    storage_mb: int
    timeout_seconds: int
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Function:
    """The default memory and timeout of a function, and its longest timeout.

    That stays below TimeoutSeconds of its state in statemachine/pipeline.asl.json, so that a slow function ends by its
    own timeout, which its log shows. Only functions that handle records need storage for a chunk.
    """

    memory_mb: int
    timeout_seconds: int = 300
    longest_seconds: int = 320
    has_records: bool = True

    def fields(self, name: str) -> list[tuple[str, Any, Any]]:
        """Define the settings of the function `name`."""
        seconds, memory = Meta(ge=1, le=self.longest_seconds), Meta(ge=128, le=10_240)
        return [
            (f"{name}_memory_mb", Annotated[int, memory], self.memory_mb),
            (f"{name}_timeout_seconds", Annotated[int, seconds], self.timeout_seconds),
            (f"{name}_concurrency", Annotated[int, Meta(ge=0, le=1_000_000)] | None, None),
        ]


FUNCTIONS = {
    "start": Function(256, timeout_seconds=30, longest_seconds=900, has_records=False),
    "validate": Function(1_024),
    "transform": Function(1_024),
    "write": Function(1_024),
    "summarize": Function(512, has_records=False),
    # It handles records if all of them are rejected.
    "dead_letter": Function(512, timeout_seconds=60, longest_seconds=80),
}
"""Every function, by the name of its folder."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may differ from one deployment to the next; `parse` adds `<function>_memory_mb` and the like."""

    env: Annotated[str, Meta(pattern=ENV)] = "dev"
    """Environment, part of every name. Only `prod` keeps its data when the stack is deleted, and has termination
    protection."""
    partition: Literal["aws", "aws-cn", "aws-us-gov"] = "aws"
    """Partition of the account: what China and GovCloud lack is left out. `cdk` refuses one that its region is not
    in."""
    bucket_namespace: Literal["account", "global"] = "account"
    """Whether the names of buckets end in `-an`, which no other account can take, or are names that anybody can. Only
    me-central-1 and me-south-1 need `global`. A change replaces every bucket."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Processor of the functions, where a region lacks one."""
    runtime: Literal["python3.14", "python3.13", "python3.12"] = "python3.14"
    """Python of the functions, where a region lacks the newest."""
    local: bool = False
    """Build for embedded AWS, with nothing kept or locked. Never on AWS."""

    default_dataset: Annotated[str, Meta(pattern=DATASET)] = "mission"
    """Dataset of objects whose key has no folder."""
    raw_bucket: Annotated[str, Meta(pattern=RAW_BUCKET)] | None = None
    """Existing bucket to take objects from, instead of a raw bucket of the stack. It must be versioned and send its
    events to EventBridge, in the same account and region; see [existing data](existing-data.md)."""
    raw_prefix: Annotated[str, Meta(pattern=RAW_PREFIX)] = ""
    """Take only the objects of `raw_bucket` below these folders; the dataset is the next folder."""
    raw_key_arn: Annotated[str, Meta(pattern=RAW_KEY_ARN)] | None = None
    """KMS key of `raw_bucket`, if it has one."""
    # A state of at most 256 KiB also holds the object, twice with a key of 1 KiB, and the cause of a failure, of up to
    # 32,768 characters (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html,
    # https://docs.aws.amazon.com/step-functions/latest/apireference/API_TaskFailedEventDetails.html).
    inline_limit_bytes: Annotated[int, Meta(ge=0, le=131_072)] = 65_536
    """Records up to this size travel in the state, where the console shows them. 0 keeps records out of the console."""
    document_limit_bytes: Annotated[int, Meta(ge=1, le=2**30)] = 16 * 2**20
    """Largest JSON document or line, decompressed. Larger ones need more memory."""
    chunk_bytes: Annotated[int, Meta(ge=2**20, le=2**30)] = 64 * 2**20
    """Size of the chunks of large JSON Lines objects, and the most that any other object may hold, decompressed. The
    steps get 8 times this as temporary storage; see [scaling](scaling.md)."""
    json_lines_suffixes: Annotated[str, Meta(pattern=SUFFIXES)] = ".jsonl,.ndjson"
    """Suffixes, separated by commas, of objects that are always read as JSON Lines, and divided into chunks above 8
    MiB; the bytes decide how any other object is read. Change them while nothing arrives: an event that is delivered
    again would start a large object in the other state machine."""
    skip_markers: bool = True
    """Skip what Hadoop and Spark leave beside their data: objects named `_SUCCESS`, and all below `_temporary/`."""
    chunk_concurrency: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Chunks of one object that are processed at a time."""
    buffered: bool = False
    """Put a queue before `start`, for floods of objects; see [scaling](scaling.md)."""
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    buffer_concurrency: Annotated[int, Meta(ge=2, le=1_000)] = 10
    """Concurrent calls of `start` that empty the queue, each with up to ten events."""
    tolerated_rejects_percent: Annotated[float, Meta(ge=0, le=100)] = 0.0
    """Share of rejected records up to which an execution still succeeds."""

    audit_lock: Literal["auto", "off", "governance", "compliance"] = "auto"
    """Object Lock of the audit bucket; `auto` is governance in prod on AWS, and off elsewhere. See
    [what Object Lock keeps](#what-object-lock-keeps). A bucket with a lock cannot lose it; its mode and days can
    change, for files written from then on."""
    audit_lock_days: Annotated[int, Meta(ge=1, le=36_500)] = 365
    """How long each ledger file and dead letter is locked."""
    staging_days: Annotated[int, Meta(ge=REDRIVE_DAYS + LONGEST_DAYS + 1, le=3_650)] = 21
    """How long staged batches can be redriven, longer than a failed execution can be. S3 deletes them within twice this
    time."""
    access_log_days: Annotated[int, Meta(ge=1, le=3_650)] = 90
    """How long the access logs of the buckets are kept."""
    log_days: LogDays = 90
    """How long the logs of functions and state machines are kept."""
    alarm_email: Annotated[str, Meta(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+\Z")] | None = None
    """Who is notified of alarms. Always set it in prod."""

    @property
    def keeps_data(self) -> bool:
        """Whether data outlives the stack."""
        return self.env == "prod" and not self.local

    @property
    def lock_mode(self) -> str | None:
        """`governance`, `compliance`, or None for no Object Lock."""
        if self.audit_lock == "auto":
            return "governance" if self.keeps_data else None
        return None if self.audit_lock == "off" else self.audit_lock

    @property
    def prefix(self) -> str:
        """The start of every name: also the name of the stack, and of the key."""
        return f"custody-{self.env}"

    def name(self, suffix: str) -> str:
        """Name a resource; no two environments of an account share a name."""
        return f"{self.prefix}-{suffix}"

    def size(self, function: str) -> Size:
        """Return the size of a function; raise SettingRefused if it is not in FUNCTIONS."""
        if function not in FUNCTIONS:
            raise SettingRefused(f"The function {function} has no settings. Add it to FUNCTIONS in infra/settings.py.")
        chunk_mb = min(max(MIN_STORAGE_MB, STORAGE_PER_CHUNK * self.chunk_bytes // 2**20), MAX_STORAGE_MB)
        return Size(
            memory_mb=getattr(self, f"{function}_memory_mb"),
            storage_mb=chunk_mb if FUNCTIONS[function].has_records else MIN_STORAGE_MB,
            timeout_seconds=getattr(self, f"{function}_timeout_seconds"),
            concurrency=getattr(self, f"{function}_concurrency"),
        )


_ALL = msgspec.defstruct(
    "AllSettings",
    [field for name, function in FUNCTIONS.items() for field in function.fields(name)],
    bases=(Settings,),
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
)
SCHEMA: dict[str, dict[str, Any]] = msgspec.json.schema(_ALL)["$defs"]["AllSettings"]["properties"]
"""The JSON Schema of each setting, by its name."""


def parse(context: Mapping[str, Any]) -> Settings:
    """Read the settings from CDK context, where the command line puts strings; raises SettingRefused."""
    given = {name: value for name, value in context.items() if not _is_of_cdk(name)}
    for name, value in given.items():
        _check(name, value)
    settings = cast("Settings", msgspec.convert(given, _ALL, strict=False))
    _check_raw_bucket(settings)
    # With too small a reserve, Lambda throttles its own polling, and each throttle counts as a receive of a message
    # (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
    reserved, needed = settings.size("start").concurrency, settings.buffer_concurrency
    if settings.buffered and reserved is not None and reserved < needed:
        raise SettingRefused(
            f"Setting start_concurrency cannot be {reserved} while buffer_concurrency is {needed}. "
            f"It must be at least as large, or unset."
        )
    return settings


def _check(name: str, value: Any) -> None:
    if name not in SCHEMA:
        raise SettingRefused(f"Unknown setting {name!r}. Known settings: {', '.join(SCHEMA)}.")
    try:
        msgspec.convert({name: value}, _ALL, strict=False)
    except msgspec.ValidationError:
        raise SettingRefused(f"Setting {name} cannot be {value!r}. It must be {allowed(name)}.") from None


def allowed(name: str) -> str:
    """Describe the values that a setting takes."""
    schema = SCHEMA[name]["anyOf"][0] if "anyOf" in SCHEMA[name] else SCHEMA[name]
    if name in ALLOWED:
        return ALLOWED[name]
    if schema.get("type") == "boolean":
        return "true or false"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    number = "whole number" if schema["type"] == "integer" else "number"
    return f"a {number} from {schema['minimum']} to {schema['maximum']}"


def _check_raw_bucket(settings: Settings) -> None:
    """Refuse settings that need a raw bucket without one, and a raw bucket that this environment owns."""
    for name in ("raw_prefix", "raw_key_arn"):
        if getattr(settings, name) and settings.raw_bucket is None:
            raise SettingRefused(f"Setting {name} requires raw_bucket, which is not set. Set both, or neither.")
    own = tuple(f"{settings.name(bucket)}-" for bucket in WRITTEN_BUCKETS)
    if settings.raw_bucket and settings.raw_bucket.startswith(own):
        raise SettingRefused(
            f"Setting raw_bucket cannot be {settings.raw_bucket!r}: this environment writes to it, and would process "
            "its own output forever. Name the bucket in which objects arrive."
        )
    if settings.raw_bucket and settings.raw_bucket.startswith(f"{settings.name('raw')}-"):
        raise SettingRefused(
            f"Setting raw_bucket cannot be {settings.raw_bucket!r}: the stack owns that bucket, and outside prod, "
            "setting raw_bucket deletes it with everything in it. Leave raw_bucket unset to use it."
        )


def _is_of_cdk(name: str) -> bool:
    """Recognise the keys of CDK itself: feature flags (`@aws-cdk/…`), `aws:cdk:…`, look-ups (`…:account=…`)."""
    return name.startswith("@") or ":" in name or name in CDK_KEYS
