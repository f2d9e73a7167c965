"""The messages between the steps: frozen Structs that are also their JSON shape.

Every message carries the format, the object, the chunk and the attempt, so that any step can be repeated from it alone.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from msgspec import Meta, Struct, field, json
from msgspec.structs import replace

from functions.shared.errors import MessageRefused
from functions.shared.model.decoding import Shape, Undecodable, from_builtins
from functions.shared.model.ids import Count, RawObject, Text

FORMAT: Literal[1] = 1

CHUNK_SUFFIX = "Chunk"
"""Ends the name of a step in the bulk state machine, where every state needs a unique name."""

Json = dict[str, Any]


def part_of(message: Any, shape: type[Shape]) -> Shape:
    """Decode a part of a message; raise MessageRefused."""
    try:
        return from_builtins(message, shape)
    except Undecodable as error:
        raise MessageRefused(f"a message does not have the expected shape: {error}") from error


class Chunk(Struct, frozen=True):
    """A byte range of a JSON Lines object: its records are the lines that begin in it."""

    start: Count
    bytes: Count


class Plan(Struct, frozen=True):
    """How an object is divided: into chunks of `chunk_bytes`; those starting at `chunks` are to be processed."""

    chunk_bytes: Annotated[int, Meta(ge=1)]
    chunks: tuple[Count, ...]


class Part(Struct, frozen=True):
    """A part of a message, whose fields stand beside those of other parts."""

    def encode(self) -> Json:
        """Return the JSON shape."""
        shape: Json = json.decode(json.encode(self))
        return shape


class Batch(Part, frozen=True, tag_field="format", tag=FORMAT):
    """The records that one execution processes: those of an object, or of one chunk of it.

    It is the input of an execution, and the head of every later message. `redrive_of` is the ARN of the execution whose
    failed work this one repeats. A bulk execution has a `plan`; each of its children has a `chunk`, and the bulk
    execution's ARN as its `parent`.
    """

    object: RawObject
    chunk: Chunk | None = None
    attempt: Count = 0
    redrive_of: str | None = None
    parent: str | None = None
    plan: Plan | None = None

    @property
    def start(self) -> int:
        """The byte of the object at which the batch begins."""
        return self.chunk.start if self.chunk else 0

    @classmethod
    def decode(cls, message: Any) -> Self:
        """Decode the head of a message; raise MessageRefused for another format or shape."""
        if not isinstance(message, dict) or message.get("format") != FORMAT:
            raise MessageRefused(f"a message does not have format {FORMAT}, the only one that this code reads")
        for part in ("chunk", "attempt"):
            if part not in message:
                raise MessageRefused(f"a message does not have the expected shape: it lacks `{part}`")
        batch = part_of(message, cls)
        # The id is derived anew: an edited input must not be committed as another object.
        return replace(batch, object=replace(batch.object, id=""))


class Counts(Part, frozen=True):
    """How many records of a batch there are, by outcome so far: in the end, received = written + rejected."""

    received: Count = 0
    written: Count = 0
    rejected: Count = 0

    @property
    def accepted(self) -> int:
        """How many records no step has rejected: Write delivers them."""
        return self.received - self.rejected

    def __add__(self, other: "Counts") -> "Counts":
        """Add all three numbers."""
        return Counts(self.received + other.received, self.written + other.written, self.rejected + other.rejected)


class Facts(Part, frozen=True):
    """What is known of a batch, apart from its records, once it has been read.

    `last_modified` is that of the raw version (ISO 8601, UTC); `contract` is the `$id` of the schema; `code` holds the
    code version of each stage that the batch has passed.
    """

    dataset: str
    last_modified: str
    contract: str
    code: Mapping[str, str] = field(default_factory=dict)

    def passed(self, stage: str, version: str) -> Self:
        """Add the code version of a stage."""
        return replace(self, code={**self.code, stage: version})

    @classmethod
    def decode(cls, message: Any) -> Self:
        """Decode the facts of a message; raise MessageRefused."""
        return part_of(message, cls)


class Execution(Struct, frozen=True):
    """The execution that a step runs in, how often it was redriven, and when last; times are ISO 8601, UTC.

    From the context object: https://docs.aws.amazon.com/step-functions/latest/dg/input-output-contextobject.html
    """

    arn: Text = field(name="Id")
    started_at: Text = field(name="StartTime")
    redrives: Count = field(name="RedriveCount", default=0)
    redriven_at: str | None = field(name="RedriveTime", default=None)


class _ExecutionInput(Struct, frozen=True):
    attempt: Count


class _Context(Struct, frozen=True):
    input: _ExecutionInput = field(name="Input")


class _State(Struct, frozen=True, rename="pascal"):
    name: Text
    entered_time: Text


class _Call(Struct, frozen=True):
    batch: Json
    execution: _Context
    state: _State


class Step(Struct, frozen=True):
    """What a step is called with: its name, a message, the execution, and when the state was entered.

    `entered_at` is recorded by commits, because a retry does not change it. The attempt of `batch` is the current one,
    counted by the execution: a redrive of an execution that was stopped or timed out calls the same step with the same
    message, so `message` may still name an earlier attempt.
    """

    name: str
    message: Json
    batch: Batch
    execution: Execution
    entered_at: str

    @classmethod
    def decode(cls, event: Any) -> Self:
        """Decode the payload that the state machine passes to each step; raise MessageRefused."""
        call = part_of(event, _Call)
        batch, execution = Batch.decode(call.batch), part_of(event["execution"], Execution)
        attempt = max(batch.attempt, call.execution.input.attempt + execution.redrives)
        name = call.state.name.removesuffix(CHUNK_SUFFIX)
        return cls(name, call.batch, replace(batch, attempt=attempt), execution, call.state.entered_time)
