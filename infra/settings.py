"""The only tunables of a deployment: set one with `cdk deploy -c name=value`."""

import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, cast

WITHOUT_RECORDS = ("start", "summarize")
"""The functions through which no records pass; through dead_letter they do, if all are rejected."""

LEAST_STORAGE_MB, MOST_STORAGE_MB = 512, 10_240
"""What Lambda gives a function of temporary storage
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-ephemeral-storage.html)."""

STORED_OF_A_CHUNK = 8
"""A step may write several times what it reads: small records have as many bytes of ledger, twice while it is made."""

REDRIVE_DAYS = 14
"""How long Step Functions can redrive an execution
(https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html)."""

WRITTEN_ROOMS = ("staging", "processed", "audit", "access-logs")
"""The buckets that are written to by the pipeline itself, by their buckets."""

LOG_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""What CloudWatch Logs can keep
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html)."""

CDK_KEYS = ("acknowledged-issue-numbers", "cli-telemetry", "cdk-migrate")
"""What `cdk acknowledge`, `cdk cli-telemetry` and `cdk migrate` put among the context."""


DATASET, DATASET_ALLOWED = r"[0-9A-Za-z_-]{1,64}", "1 to 64 of 0-9, A-Z, a-z, _ and -"
"""The name of a dataset: a folder of keys, and the file of a transform that Python can import."""

RAW_BUCKET = (
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$)"
    r"(?!.*\.\.)(?!([0-9]+\.){3}[0-9]+$)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
)
"""A bucket's name: not that of an address, nor with a beginning or end that S3 reserves (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html)."""

RAW_PREFIX = r"(?=.{0,512}$)([0-9A-Za-z!_.'()=-]+/)*"
"""Folders of a key, of characters that are safe in one (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html)
and mean nothing else in a policy; `*` does, `?` too."""

RAW_KEY_ARN = r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-z-]+"
"""A key by its own ARN: an alias is no resource that a policy can name
(https://docs.aws.amazon.com/kms/latest/developerguide/concepts.html#key-id)."""


class SettingRefused(ValueError):
    """A setting is not known, or its value is not allowed."""


def _text(default: str | None, pattern: str, allowed: str) -> Any:
    return field(default=default, metadata={"kind": str, "pattern": re.compile(pattern), "allowed": allowed})


def _choice(default: Any, *values: Any) -> Any:
    return field(default=default, metadata={"kind": type(values[0]), "values": values})


def _flag(*, default: bool) -> Any:
    return field(default=default, metadata={"kind": bool, "values": (True, False)})


def _number(default: int | None, low: int, high: int) -> Any:
    return field(default=default, metadata={"kind": int, "low": low, "high": high})


def _memory(default: int) -> Any:
    return _number(default, 128, 10_240)  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html


_SIZES = ("memory_mb", "timeout_seconds", "concurrency")
"""What the settings of a function are called, behind its name."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a function is given: memory and temporary storage in MB, a timeout in seconds, and concurrency, if any."""

    memory_mb: int
    storage_mb: int
    timeout_seconds: int
    concurrency: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What may differ from one deployment to the next."""

    env: str = _text("dev", r"[a-z][a-z0-9]{0,11}", "1 to 12 lower-case letters and digits, a letter first")
    """Environment; it is part of every name, and `prod` alone keeps its data when the stack is deleted."""
    local: bool = _flag(default=False)
    """Deploy to embedded AWS: the layer is built for this machine, and nothing is kept or locked."""

    default_dataset: str = _text("mission", DATASET, DATASET_ALLOWED)
    """Dataset of an object whose key has no folder."""
    raw_bucket: str | None = _text(
        None,
        RAW_BUCKET,
        "the name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens, none that S3 reserves",
    )
    """Take objects from this bucket, which is there already, instead of a raw bucket of the stack's own. Nothing of its
    configuration is touched: it must be versioned and send its events to EventBridge, in the same account and region
    (docs/existing-data.md)."""
    raw_prefix: str = _text(
        "", RAW_PREFIX, "folders that end with a slash, such as incoming/, of dead letters, digits and !_.'()=-"
    )
    """Take only the objects of `raw_bucket` below these folders. The dataset is then the first folder behind them."""
    raw_key_arn: str | None = _text(None, RAW_KEY_ARN, "the ARN of a KMS key, arn:…:key/…; an alias is none")
    """The KMS key that `raw_bucket` is encrypted with, if it is one."""
    # Beside the records, a state of at most 256 KiB holds the rest of the message
    # (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html).
    inline_limit_bytes: int = _number(65_536, 0, 196_608)
    """Records up to this size travel in the state itself, where the console shows them; 0 keeps them all out of it."""
    document_limit_bytes: int = _number(16 * 2**20, 1, 2**30)
    """The largest JSON document, decompressed: an object that is one, or a line of JSON Lines."""
    chunk_bytes: int = _number(64 * 2**20, 2**20, 2**30)
    """Large objects of plain JSON Lines are cut into chunks of this size; it is also the most, decompressed, that a
    gzipped object may hold. A chunk is processed within the timeouts and the temporary storage of the functions."""
    chunk_concurrency: int = _number(100, 1, 10_000)
    """How many chunks of one object are processed at a time, each in calls of the functions of its own."""
    buffered: bool = _flag(default=False)
    """Put a queue between the raw bucket and the start function, so that no more is started at a time than can be."""
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    buffer_concurrency: int = _number(10, 2, 1_000)
    """How many calls of the start function empty the queue at a time, each with up to ten events."""
    tolerated_rejects_percent: float = field(default=0.0, metadata={"kind": float, "low": 0, "high": 100})
    """Share of rejected records up to which an execution still succeeds."""

    audit_lock: Literal["auto", "off", "governance", "compliance"] = _choice(
        "auto", "auto", "off", "governance", "compliance"
    )
    """Object Lock of the audit bucket; `auto` is governance in prod on AWS, and off elsewhere."""
    audit_lock_days: int = _number(365, 1, 36_500)
    """How long the lock holds each ledger file and dead letter."""
    staging_days: int = _number(21, REDRIVE_DAYS + 1, 3_650)
    """How long staged batches are kept: longer than a failed execution can be redriven."""
    access_log_days: int = _number(90, 1, 3_650)
    """How long the buckets' access logs are kept."""
    log_days: int = _choice(90, *LOG_DAYS)
    """How long the logs of the functions and of the state machine are kept."""
    alarm_email: str | None = _text(None, r"[^@\s]+@[^@\s]+\.[^@\s]+", "an e-mail address")
    """Who is written to when an alarm changes state; nobody if unset."""

    start_memory_mb: int = _memory(256)
    """Memory of the start function."""
    validate_memory_mb: int = _memory(1_024)
    """Memory of the validate function: some pages of records, or a whole JSON document."""
    transform_memory_mb: int = _memory(1_024)
    """Memory of the transform function: some pages of records, or a whole JSON document."""
    write_memory_mb: int = _memory(1_024)
    """Memory of the write function: some pages of records."""
    summarize_memory_mb: int = _memory(512)
    """Memory of the summarize function."""
    dead_letter_memory_mb: int = _memory(512)
    """Memory of the dead_letter function."""

    # The highest values stay below TimeoutSeconds of the function's state in statemachine/pipeline.asl.json, so that a
    # slow function ends by its own timeout, which its log shows.
    start_timeout_seconds: int = _number(30, 1, 900)
    """Timeout of the start function."""
    validate_timeout_seconds: int = _number(300, 1, 320)
    """Timeout of the validate function."""
    transform_timeout_seconds: int = _number(300, 1, 320)
    """Timeout of the transform function."""
    write_timeout_seconds: int = _number(300, 1, 320)
    """Timeout of the write function."""
    summarize_timeout_seconds: int = _number(300, 1, 320)
    """Timeout of the summarize function."""
    dead_letter_timeout_seconds: int = _number(60, 1, 80)
    """Timeout of the dead_letter function."""

    start_concurrency: int | None = _number(None, 0, 1_000_000)
    """Concurrency reserved for the start function; none if unset, for a new account has little to reserve."""
    validate_concurrency: int | None = _number(None, 0, 1_000_000)
    """Concurrency reserved for the validate function."""
    transform_concurrency: int | None = _number(None, 0, 1_000_000)
    """Concurrency reserved for the transform function."""
    write_concurrency: int | None = _number(None, 0, 1_000_000)
    """Concurrency reserved for the write function."""
    summarize_concurrency: int | None = _number(None, 0, 1_000_000)
    """Concurrency reserved for the summarize function."""
    dead_letter_concurrency: int | None = _number(None, 0, 1_000_000)
    """Concurrency reserved for the dead_letter function."""

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
        """What every name begins with: the name of the stack, and of the key."""
        return f"custody-{self.env}"

    def name(self, suffix: str) -> str:
        """Name a resource: no two environments of an account share a name."""
        return f"{self.prefix}-{suffix}"

    @property
    def _storage_mb(self) -> int:
        """What a step writes of a chunk, before it puts it into a bucket: its records, its ledger lines, and room."""
        return min(max(LEAST_STORAGE_MB, STORED_OF_A_CHUNK * self.chunk_bytes // 2**20), MOST_STORAGE_MB)

    def size(self, function: str) -> Size:
        """Gather what the settings give a function; raise SettingRefused if they do not know it."""
        if missing := [name for part in _SIZES if not hasattr(self, name := f"{function}_{part}")]:
            raise SettingRefused(
                f"The function {function} has no setting {', '.join(missing)}. Add it to infra/settings.py."
            )
        return Size(
            memory_mb=getattr(self, f"{function}_memory_mb"),
            storage_mb=LEAST_STORAGE_MB if function in WITHOUT_RECORDS else self._storage_mb,
            timeout_seconds=getattr(self, f"{function}_timeout_seconds"),
            concurrency=getattr(self, f"{function}_concurrency"),
        )


_MEMORY = "_memory_mb"
FUNCTIONS = tuple(found.name.removesuffix(_MEMORY) for found in fields(Settings) if found.name.endswith(_MEMORY))
"""Every function, by the name of its folder: what is given memory."""


def parse(context: Mapping[str, Any]) -> Settings:
    """Read the settings from CDK context, where the command line puts strings; raises SettingRefused."""
    known = {found.name: found for found in fields(Settings)}
    own = {name: value for name, value in context.items() if not _is_of_cdk(name)}
    for name in own.keys() - known.keys():
        raise SettingRefused(f"Setting {name!r} is not known. Known are: {', '.join(known)}.")
    return _in_harmony(Settings(**{name: _value(known[name], value) for name, value in own.items()}))


def _in_harmony(settings: Settings) -> Settings:
    """Refuse settings that do not go together.

    With too small a reserve, Lambda would throttle its own calls, and each would count as one of the tries that a
    message of the buffer has (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html).
    """
    _require_raw_bucket(settings)
    reserved, needed = settings.start_concurrency, settings.buffer_concurrency
    if settings.buffered and reserved is not None and reserved < needed:
        raise SettingRefused(
            f"Setting start_concurrency cannot be {reserved} while buffer_concurrency is {needed}. "
            f"It must be at least as large, or unset."
        )
    return settings


def _require_raw_bucket(settings: Settings) -> None:
    """Refuse what only goes with a raw bucket that is there already, and one that is this environment's own."""
    for name in ("raw_prefix", "raw_key_arn"):
        if getattr(settings, name) and settings.raw_bucket is None:
            raise SettingRefused(f"Setting {name} goes with raw_bucket, which is not set. Set both, or neither.")
    own = tuple(f"{settings.name(bucket)}-" for bucket in WRITTEN_ROOMS)
    if settings.raw_bucket and settings.raw_bucket.startswith(own):
        raise SettingRefused(
            f"Setting raw_bucket cannot be {settings.raw_bucket!r}: this environment writes to it, and would process "
            "what it has made without end. Name the bucket in which objects arrive."
        )
    if settings.raw_bucket and settings.raw_bucket.startswith(f"{settings.name('raw')}-") and not settings.keeps_data:
        raise SettingRefused(
            f"Setting raw_bucket cannot be {settings.raw_bucket!r}: this environment makes that bucket itself, and "
            "deletes it with all that is in it when it is told of an existing one. Copy the objects to a bucket of "
            "your own, and name that."
        )


def _is_of_cdk(name: str) -> bool:
    """Tell the keys of CDK itself: feature flags (`@aws-cdk/…`), `aws:cdk:…`, look-ups (`…:account=…`) and three."""
    return name.startswith("@") or ":" in name or name in CDK_KEYS


def _value(setting: Field[Any], given: Any) -> Any:
    limits = setting.metadata
    refused = SettingRefused(f"Setting {setting.name} cannot be {given!r}. It must be {_allowed(limits)}.")
    try:
        value = _converted(limits["kind"], given)
    except ValueError:
        raise refused from None
    if "values" in limits:
        fits = value in limits["values"]
    elif "pattern" in limits:
        fits = limits["pattern"].fullmatch(value) is not None
    else:
        fits = limits["low"] <= value <= limits["high"]
    if not fits:
        raise refused
    return value


def _converted(kind: type, given: Any) -> Any:
    if type(given) is kind:
        return given
    if kind is bool and given in ("true", "false"):
        return given == "true"
    if kind is int and isinstance(given, str) and re.fullmatch(r"[0-9]+", given):
        return int(given)
    if kind is float and re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(given)):
        return float(given)
    raise ValueError(given)


def _allowed(limits: Mapping[str, Any]) -> str:
    if limits["kind"] is bool:
        return "true or false"
    if "values" in limits:
        return "one of " + ", ".join(str(value) for value in limits["values"])
    if "pattern" in limits:
        return cast("str", limits["allowed"])
    number = "number" if limits["kind"] is float else "whole number"
    return f"a {number} from {limits['low']} to {limits['high']}"
