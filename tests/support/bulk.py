"""An object in chunks, in memory: the handlers process each as the state machine calls them."""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from functions.dead_letter.handler import handle as dead_letter
from functions.shared.errors import AccessRefused, CustodyError, RecordsRejected
from functions.shared.model.chunking import whole
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk
from functions.summarize.handler import handle as summarize
from tests.support.buckets import Buckets, called_with
from tests.support.executions import BULK_ARN, Machine, arn_of
from tests.support.stages import BAD, GOOD, STEPS

CHUNK_BYTES = 200
"""Three lines of this object begin in a chunk, or four."""

LINE = GOOD + b"\n"
KEY = "mission/many.jsonl"


def lines(number: int, *, bad: tuple[int, ...] = ()) -> bytes:
    """Return an object of so many records; those with the `bad` numbers violate the contract."""
    return b"".join((BAD if at in bad else GOOD) + b"\n" for at in range(number))


@dataclass(frozen=True)
class Bulk:
    """An object that has arrived, and the batch that `start` makes of it."""

    buckets: Buckets
    batch: Batch

    @classmethod
    def upload(cls, buckets: Buckets, body: bytes, key: str = KEY) -> "Bulk":
        """Upload an object, and plan its chunks."""
        return cls.of(buckets, buckets.upload(key, body).object)

    @classmethod
    def of(cls, buckets: Buckets, raw: RawObject) -> "Bulk":
        """Plan the chunks of an object."""
        return cls(buckets, Batch(raw, plan=whole(raw, CHUNK_BYTES)))

    @classmethod
    def incomplete(cls, buckets: Buckets, machine: Machine, **facts: Any) -> "Bulk":
        """Process an object of seven chunks: the one at 200 rejects a record, the one at 400 fails."""
        bulk = cls.upload(buckets, lines(20, bad=(4,)))
        machine.add(bulk.batch, **facts)
        assert bulk.run(failing=(400,)) == "ChunksFailed"
        return bulk

    @property
    def id(self) -> str:
        return self.batch.object.id

    @property
    def starts(self) -> tuple[int, ...]:
        """The starts of the chunks to process."""
        assert self.batch.plan is not None
        return self.batch.plan.chunks

    @property
    def arn(self) -> str:
        """The ARN of the bulk execution."""
        attempt = self.batch.attempt
        return arn_of(f"{self.id}-r{attempt}" if attempt else self.id, BULK_ARN)

    def again(self, *starts: int) -> "Bulk":
        """Return the next attempt, of these chunks or of all."""
        assert self.batch.plan is not None
        plan = replace(self.batch.plan, chunks=starts or self.starts)
        return Bulk(self.buckets, replace(self.batch, attempt=self.batch.attempt + 1, plan=plan, redrive_of=self.arn))

    def run(self, *, failing: tuple[int, ...] = (), lost: tuple[int, ...] = ()) -> str | None:
        """Process the chunks and summarize them; return the name of the error that the object ends with.

        The `failing` chunks fail at Write; the `lost` ones are not processed.
        """
        for start in self.starts:
            if start not in lost:
                self.chunk(start, fails=start in failing)
        return self.close()

    def chunk(self, start: int, *, fails: bool = False) -> None:
        """Process a chunk; if it `fails`, it does so at Write."""
        chunk = Chunk(start, CHUNK_BYTES)
        batch = Batch(self.batch.object, chunk, self.batch.attempt, self.batch.redrive_of, parent=self.arn)
        arn = f"{self.arn.replace(':bulk:', ':bulk/ProcessChunks:')}-{start}"
        message: Any = batch.encode()
        for name, step in STEPS.items():
            try:
                if fails and name == "Write":
                    raise AccessRefused("caused by a test")  # noqa: TRY301 - as the step would
                message = step(called_with(message, f"{name}Chunk", arn=arn, attempt=self.batch.attempt), None)
            except (AccessRefused, RecordsRejected) as error:
                self._fail(message, name, error, arn, "DeadLetterChunk")
                return

    def close(self) -> str | None:
        """Call Summarize; return the name of the error that it raises, after its dead letter is written."""
        message = self.batch.encode()
        try:
            summarize(called_with(message, "Summarize", arn=self.arn, attempt=self.batch.attempt), None)
        except CustodyError as error:
            self._fail(message, "Summarize", error, self.arn)
            return type(error).__name__
        return None

    def end(self, error: str, step: str = "Summarize") -> None:
        """Call DeadLetter for the object, as after an error."""
        self._fail(self.batch.encode(), step, error, self.arn)

    def _fail(self, message: Any, step: str, error: CustodyError | str, arn: str, state: str = "DeadLetter") -> None:
        name, cause = (error, "") if isinstance(error, str) else (type(error).__name__, str(error))
        caught = {step: {"Error": name, "Cause": json.dumps({"errorMessage": cause})}}
        with suppress(CustodyError):
            dead_letter(called_with(message | {"failure": caught}, state, arn=arn, attempt=self.batch.attempt), None)
