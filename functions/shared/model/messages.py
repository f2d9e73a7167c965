"""The messages that travel between the steps: frozen values, and their one JSON shape.

Every message carries `format`, the object, the chunk and the attempt, so that any step can be run again from it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple, Self

from msgspec import Struct
from msgspec.structs import asdict as asdict_of

from functions.shared.errors import MessageRefused
from functions.shared.model.ids import RawObject

FORMAT = 1

OF_A_CHUNK = "Chunk"
"""What stands behind the name of a step in the state machine of chunks: the names of a whole machine are unique."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A byte range of a JSON Lines object: the lines that begin in it are its records."""

    start: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How an object is cut: into chunks of `chunk_bytes`, of which those that begin at `chunks` are to be processed."""

    chunk_bytes: int
    chunks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """The records that one execution carries: those of a whole object, or of a chunk of it.

    `redrive_of` is the ARN of the execution whose failed work this one does again; None for a first execution. A bulk
    execution has a `plan`, and each of its children a `chunk` and the bulk execution's ARN as its `parent`.
    """

    object: RawObject
    chunk: Chunk | None = None
    attempt: int = 0
    redrive_of: str | None = None
    parent: str | None = None
    plan: Plan | None = None

    @property
    def start(self) -> int:
        """The byte of the object at which the batch begins."""
        return self.chunk.start if self.chunk else 0

    def encode(self) -> Json:
        """Give the JSON shape: the input of an execution, and the head of every later message."""
        head = {
            "format": FORMAT,
            "object": asdict(self.object),
            "chunk": asdict(self.chunk) if self.chunk else None,
            "attempt": self.attempt,
            "redrive_of": self.redrive_of,
        }
        if self.chunk:
            head["parent"] = self.parent
        if self.plan:
            head |= {"chunk_bytes": self.plan.chunk_bytes, "chunks": list(self.plan.chunks)}
        return head

    @classmethod
    def decode(cls, message: Json) -> Self:
        """Read the head of a message; raise MessageRefused for another format or a missing part."""
        try:
            known = message["format"] == FORMAT
        except (KeyError, TypeError) as error:
            raise MessageRefused(f"a message came that has no format: {error}") from error
        if not known:
            raise MessageRefused(f"a message of format {message['format']!r} came; this code knows format {FORMAT}")
        try:
            return cls(
                RawObject(**message["object"]),
                Chunk(**message["chunk"]) if message["chunk"] else None,
                message["attempt"],
                message.get("redrive_of"),
                message.get("parent"),
                Plan(message["chunk_bytes"], tuple(message["chunks"])) if "chunks" in message else None,
            )
        except (KeyError, TypeError) as error:
            raise MessageRefused(f"a message came without a part that it must have: {error}") from error


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a record breaks: where (JSON Pointer), which, and the rule's own limit; never the record's value."""

    pointer: str
    rule: str
    limit: Any = None

    def encode(self) -> Json:
        """Give the JSON shape."""
        return {"pointer": self.pointer, "rule": self.rule, "limit": self.limit}

    def __str__(self) -> str:
        """Say it in a line, such as `/confidence: maximum 1`."""
        limit = (
            "" if self.limit is None else f" {self.limit if isinstance(self.limit, str) else json.dumps(self.limit)}"
        )
        return f"{self.pointer or '/'}: {self.rule}{limit}"


class Span(Struct, frozen=True, gc=False):
    """Where a record lies in its object: position, byte offset, length in bytes, and the SHA-256 of those bytes."""

    position: int
    offset: int
    length: int
    sha256: str

    def encode(self) -> Json:
        """Give the JSON shape, flat: other facts of the record stand beside these."""
        return asdict_of(self)


class Record(Struct, frozen=True, gc=False):
    """A record that is good so far, and the JSON document that it is by now."""

    span: Span
    document: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that a stage has set aside, with all its violations."""

    span: Span
    stage: str
    violations: tuple[Violation, ...]

    def encode(self) -> Json:
        """Give the JSON shape."""
        violations = [violation.encode() for violation in self.violations]
        return self.span.encode() | {"stage": self.stage, "violations": violations}

    @classmethod
    def decode(cls, record: Json) -> Self:
        """Read the JSON shape; raise KeyError or TypeError for another."""
        violations = tuple(Violation(**each) for each in record["violations"])
        return cls(_span(record), record["stage"], violations)


def _span(record: Json) -> Span:
    return Span(record["position"], record["offset"], record["length"], record["sha256"])


class Page(NamedTuple):
    """Records of a batch that follow one another: those that are good so far, and the rejected, each by position."""

    records: Sequence[Record]
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many records of a batch are good so far, and how many are rejected."""

    accepted: int = 0
    rejected: int = 0

    @property
    def received(self) -> int:
        """How many records the batch had when it was read."""
        return self.accepted + self.rejected

    def __add__(self, other: "Counts") -> "Counts":
        """Count both."""
        return Counts(self.accepted + other.accepted, self.rejected + other.rejected)

    def encode(self) -> Json:
        """Give the JSON shape, as of a batch that is delivered: received = written + rejected."""
        return {"received": self.received, "written": self.accepted, "rejected": self.rejected}

    @classmethod
    def of(cls, pages: Iterable[Page]) -> Self:
        """Count the records of pages."""
        counted = [(len(page.records), len(page.rejected)) for page in pages]
        return cls(sum(accepted for accepted, _ in counted), sum(rejected for _, rejected in counted))


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a batch, apart from its records, once it has been read.

    `last_modified` is that of the raw version (ISO 8601, UTC); `contract` is the `$id` of the schema; `code` holds the
    code version of each stage that the batch has passed.
    """

    dataset: str
    last_modified: str
    contract: str
    code: Mapping[str, str] = field(default_factory=dict)

    def passed(self, stage: str, version: str) -> Self:
        """Note that a stage, at this code version, has done its work."""
        return replace(self, code={**self.code, stage: version})

    def encode(self) -> Json:
        """Give the JSON shape."""
        return {
            "dataset": self.dataset,
            "last_modified": self.last_modified,
            "contract": self.contract,
            "code": dict(self.code),
        }

    @classmethod
    def decode(cls, message: Json) -> Self:
        """Read the facts of a message; raise MessageRefused for a missing part."""
        try:
            return cls(message["dataset"], message["last_modified"], message["contract"], message["code"])
        except (KeyError, TypeError) as error:
            raise MessageRefused(f"a message came without a part that it must have: {error}") from error


def encode_records(page: Page) -> Json:
    """Give the JSON shape of records that travel in a message itself."""
    return {
        "records": [record.span.encode() | {"document": record.document} for record in page.records],
        "rejected": [rejected.encode() for rejected in page.rejected],
    }


def decode_records(message: Json) -> Page:
    """Read the records that travel in a message; raise MessageRefused for a missing part."""
    try:
        return Page(
            [Record(_span(record), record["document"]) for record in message["records"]],
            [Rejected.decode(record) for record in message["rejected"]],
        )
    except (KeyError, TypeError) as error:
        raise MessageRefused(f"a message came without a part that it must have: {error}") from error


@dataclass(frozen=True, slots=True)
class Execution:
    """The execution that a step runs in, how often it was redriven and when last; times are ISO 8601, UTC.

    From the context object: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
    """

    arn: str
    started_at: str
    redrives: int = 0
    redriven_at: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a step is called with: its name, a message, the execution, and when the state was entered.

    The last is the time that commits record: a retry does not change it. The attempt of `batch` is the one that is under
    way, counted by the execution itself: a redrive of an execution that was stopped or ran out of time calls the same
    step with the same message, so `message` may still tell an earlier one.
    """

    name: str
    message: Json
    batch: Batch
    execution: Execution
    entered_at: str

    @classmethod
    def decode(cls, event: Json) -> Self:
        """Read the payload that the state machine gives each step; raise MessageRefused when a part is missing."""
        try:
            context, state = event["execution"], event["state"]
            execution = Execution(
                context["Id"], context["StartTime"], context.get("RedriveCount", 0), context.get("RedriveTime")
            )
            batch = Batch.decode(event["batch"])
            attempt = max(batch.attempt, context["Input"]["attempt"] + execution.redrives)
            name = state["Name"].removesuffix(OF_A_CHUNK)
            return cls(name, event["batch"], replace(batch, attempt=attempt), execution, state["EnteredTime"])
        except (KeyError, TypeError) as error:
            raise MessageRefused(f"a step was called without a part that it must have: {error}") from error
