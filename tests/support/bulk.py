"""An object in chunks, in memory: the handlers process each as the state machine calls them."""

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from functions.dead_letter.handler import handle as dead_letter
from functions.shared.errors import CustodyError, RecordsRejected
from functions.shared.model.chunking import whole
from functions.shared.model.messages import Batch, Chunk
from functions.summarize.handler import handle as summarize
from functions.transform.handler import handle as transform
from functions.validate.handler import handle as validate
from functions.write.handler import handle as write
from tests.support.buckets import Buckets, called_with
from tests.support.executions import BULK_ARN, arn_of
from tests.support.stages import BAD, GOOD

CHUNK_BYTES = 200
"""Three lines of this object begin in a chunk, or four."""

LINE = GOOD + b"\n"
KEY = "mission/many.jsonl"


def lines(number: int, *, bad: tuple[int, ...] = ()) -> bytes:
    """Return an object of so many records; those with the `bad` numbers violate the contract."""
    return b"".join((BAD if at in bad else GOOD) + b"\n" for at in range(number))


def denied(step: str = "Write") -> dict[str, Any]:
    """Return what the state machine catches if a step lacks a permission."""
    return {step: {"Error": "AccessRefused", "Cause": '{"errorMessage": "caused by a test"}'}}


@dataclass(frozen=True)
class Bulk:
    """An object that has arrived, and the batch that `start` makes of it."""

    buckets: Buckets
    batch: Batch

    @classmethod
    def upload(cls, buckets: Buckets, body: bytes, key: str = KEY) -> "Bulk":
        """Upload an object, and plan its chunks."""
        batch = buckets.upload(key, body)
        return cls(buckets, replace(batch, plan=whole(batch.object, CHUNK_BYTES)))

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
        for state, handle in (("Validate", validate), ("Transform", transform), ("Write", write)):
            try:
                if fails and state == "Write":
                    self._dead_letter(message | {"failure": denied()}, arn)
                    return
                message = handle(self._payload(message, f"{state}Chunk", arn), None)
            except RecordsRejected as error:
                caught = {state: {"Error": "RecordsRejected", "Cause": f'{{"errorMessage": "{error}"}}'}}
                self._dead_letter(message | {"failure": caught}, arn)
                return

    def close(self) -> str | None:
        """Call Summarize; return the name of the error that it raises, after its dead letter is written."""
        message = self.batch.encode()
        try:
            summarize(self._payload(message, "Summarize", self.arn), None)
        except CustodyError as error:
            name = type(error).__name__
            self.end(name)
            return name
        return None

    def end(self, error: str, step: str = "Summarize") -> None:
        """Call DeadLetter for the object, as after an error."""
        caught = {step: {"Error": error, "Cause": '{"errorMessage": "caused by a test"}'}}
        self._dead_letter(self.batch.encode() | {"failure": caught}, self.arn, state="DeadLetter")

    def _dead_letter(self, message: Any, arn: str, state: str = "DeadLetterChunk") -> None:
        try:
            dead_letter(self._payload(message, state, arn), None)
        except CustodyError:
            return

    def _payload(self, message: Any, state: str, arn: str) -> dict[str, Any]:
        return called_with(message, state, Id=arn, Name=arn.rpartition(":")[2], Input={"attempt": self.batch.attempt})
