"""What Custody costs: each figure of docs/costs.md, from its prices and from what the code takes.

`python -m benchmarks.costs` prints the tables, to be put into the document when a price or the code has changed;
tests/infra/test_costs.py holds the document to them. How many transitions, calls and requests there are stands in the
tables of docs/scaling.md, which tests of their own hold to the code.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from infra.constructs.ingestion import BATCH
from infra.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("validate", "transform", "write")
RECORD_BYTES = 61
"""The sample of docs/scaling.md, with its line end."""

LEDGER_BYTES = 640
"""Of the audit file of an object of a single record, about."""

OBJECTS = 1_000_000
RECORDS = 100_000_000
GB = 10**9
MONTH_HOURS = 730
RUN_OBJECTS = 300
"""At least as many executions as `make test-aws` starts, with its chunks and the probes that it waits by."""

RUN_HOURS = 2


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """Read the table that begins with a heading: the cells of each row, by the first one."""
    _, _, table = text.partition(f"| {heading} |")
    lines = table.split("\n\n", 1)[0].splitlines()[2:]
    cells = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {first: others for first, *others in cells}


def number(cell: str) -> float:
    """Read a number with thousands set apart."""
    return float(re.sub(r"[^0-9.]", "", cell))


@dataclass(frozen=True)
class Prices:
    """USD for one of each, by the name of its row; and what is assumed of a deployment at work."""

    prices: Mapping[str, float]
    assumed: Mapping[str, float]

    @classmethod
    def read(cls, document: str) -> "Prices":
        """Read both tables of docs/costs.md."""
        prices = {
            name: number(usd) / number(per.split()[0]) for name, (usd, per, *_) in rows(document, "price").items()
        }
        return cls(prices, {name: number(cell) for name, (cell, *_) in rows(document, "assumed").items()})


@dataclass(frozen=True)
class Line:
    """One line of a bill: so many of something, at a price."""

    what: str
    count: float
    arithmetic: str
    usd: float

    def cells(self) -> tuple[str, ...]:
        """Give the row of a table."""
        return (self.what, self.arithmetic, f"{self.usd:,.2f}")


@dataclass(frozen=True)
class Taken:
    """What one execution takes, as docs/scaling.md says."""

    transitions: int
    calls: int
    events: int

    @classmethod
    def read(cls, scaling: str, execution: str) -> "Taken":
        """Read the row of an execution."""
        _, *counts = rows(scaling, "execution of")[execution]
        return cls(*(int(number(cell)) for cell in counts))


@dataclass(frozen=True)
class Bill:
    """The lines of a bill."""

    lines: tuple[Line, ...]

    @property
    def usd(self) -> float:
        """What it comes to."""
        return sum(line.usd for line in self.lines)

    def table(self, *headings: str) -> str:
        """Write it as a table, with the sum below."""
        body = [line.cells() for line in self.lines]
        return table(headings, [*body, ("**together**", "", f"**{self.usd:,.2f}**")])


def table(headings: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Write a table as Markdown has it."""
    lines = [headings, ["---"] * len(headings), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Costs:
    """What a deployment costs; `alarms` is how many there are."""

    rate: Prices
    scaling: str
    settings: Settings
    alarms: int

    @classmethod
    def read(cls, alarms: int) -> "Costs":
        """Read the documents, for the settings that a deployment has if none is said."""
        costs, scaling = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("costs.md", "scaling.md"))
        return cls(Prices.read(costs), scaling, Settings(), alarms)

    def _line(self, what: str, price: str, count: float, arithmetic: str) -> Line:
        return Line(what, count, arithmetic, count * self.rate.prices[price])

    def idle(self) -> Bill:
        """Give what a month costs in which nothing happens."""
        return Bill(
            (
                self._line("KMS key", "KMS key, month", 1, "1 key"),
                self._line("alarms", "CloudWatch alarm, month", self.alarms, f"{self.alarms} alarms"),
            )
        )

    def polling(self) -> float:
        """Give what Lambda's asking an empty buffer costs a month, in USD."""
        asked = self.rate.assumed["requests a minute to an empty buffer"] * 60 * MONTH_HOURS
        return asked * self.rate.prices["SQS request"]

    def buffering(self) -> tuple[int, float]:
        """Give the requests to SQS for as many objects as a call of start takes, and USD for a million objects."""
        requests = BATCH + 2
        return requests, requests / BATCH * OBJECTS * self.rate.prices["SQS request"]

    def objects(self) -> Bill:
        """Give what a million objects of one record each cost."""
        taken = Taken.read(self.scaling, "a batch")
        raw_read, staged, staged_read, processed, audit = self._requests("travels in its messages")
        puts, gets = 1 + processed + audit + staged, raw_read + staged_read
        ms, start_ms = self.rate.assumed["ms of a step for one record"], self.rate.assumed["ms of start"]
        seconds = sum(getattr(self.settings, f"{step}_memory_mb") for step in STEPS) / 1024 * ms / 1000
        seconds += self.settings.start_memory_mb / 1024 * start_ms / 1000
        calls = taken.calls + 1
        lines = [
            self._transitions(taken.transitions * OBJECTS, f"1,000,000 x {taken.transitions} transitions"),
            self._line("Lambda calls", "Lambda request", calls * OBJECTS, f"1,000,000 x {calls} calls, with `start`"),
            self._seconds(seconds * OBJECTS, f"1,000,000 x {seconds:.3f} GB-seconds"),
            self._line("S3 writes", "S3 PUT", puts * OBJECTS, f"1,000,000 x {puts} PUTs, with your own"),
            self._line("S3 reads", "S3 GET", gets * OBJECTS, f"1,000,000 x {gets} GET"),
            self._deliveries(processed * OBJECTS, f"1,000,000 x {processed} delivery"),
        ]
        return Bill((*lines, *self._watching(OBJECTS, calls, taken.events)))

    def records(self) -> Bill:
        """Give what it costs to process many records that lie in one large object."""
        size, chunk_bytes = RECORDS * RECORD_BYTES, self.settings.chunk_bytes
        chunks = ceil(size / chunk_bytes)
        of_chunk, of_object = (
            Taken.read(self.scaling, "a chunk of a large object"),
            Taken.read(self.scaling, "the large object itself"),
        )
        transitions = chunks * of_chunk.transitions + of_object.transitions
        calls = chunks * of_chunk.calls + of_object.calls + 1
        seconds = RECORDS * self.rate.assumed["µs of all steps for a record among many"] / 10**6
        _, staged, _, processed, audit = self._requests("is staged")
        puts = (staged + processed + audit) * chunks + ceil(size / (8 * 2**20)) + 2
        events = ceil((chunks * of_chunk.events + of_object.events) / (chunks + 1))
        return Bill(
            (
                self._transitions(transitions, f"{chunks} chunks x {of_chunk.transitions} + {of_object.transitions}"),
                self._line("Lambda calls", "Lambda request", calls, f"{chunks} x {of_chunk.calls} + 2"),
                self._seconds(seconds, f"{RECORDS:,} records; {seconds:,.0f} GB-seconds"),
                self._line("S3 writes", "S3 PUT", puts, f"{puts:,} PUTs, with your upload in parts of 8 MiB"),
                self._deliveries(processed * chunks, f"{processed * chunks} deliveries"),
                *self._watching(chunks + 1, ceil(calls / (chunks + 1)), events),
            )
        )

    def _requests(self, kind: str) -> list[int]:
        """Give the requests of a batch to S3, as docs/scaling.md has them: the columns of its table."""
        return [int(number(cell)) for cell in rows(self.scaling, "a batch that")[kind]]

    def _deliveries(self, count: int, arithmetic: str) -> Line:
        return self._line("EventBridge", "EventBridge opt-in data event", count, arithmetic)

    def _transitions(self, count: int, arithmetic: str) -> Line:
        return self._line("Step Functions", "Step Functions transition", count, arithmetic)

    def _seconds(self, seconds: float, arithmetic: str) -> Line:
        return self._line("Lambda time", "Lambda GB-second, Arm", seconds, arithmetic)

    def _watching(self, executions: int, calls: int, events: int) -> tuple[Line, ...]:
        """Give what logs and traces of executions cost."""
        of_calls = self.rate.assumed["bytes that a call logs"] * calls
        of_events = self.rate.assumed["bytes that an event of an execution logs"] * events
        stored = executions * (of_calls + of_events) / GB
        traced = executions * self.rate.assumed["share of executions that are traced, %"] / 100
        said = f"{calls} calls and {events} events an execution; {stored:,.2f} GB"
        return (
            self._line("logs", "CloudWatch Logs, GB taken in", stored, said),
            self._line("X-Ray", "X-Ray trace", traced, f"{traced:,.0f} traces"),
        )

    def stored(self) -> str:
        """Give what it costs for a month to keep the records of a large object, by bucket."""
        size = {
            "raw": RECORD_BYTES,
            "processed": self.rate.assumed["bytes of a processed record"],
            "audit": self.rate.assumed["bytes of a record in the ledger"],
        }
        price = self.rate.prices["S3 Standard, GB-month"]
        body = [
            (room, f"{RECORDS:,} x {each:g} bytes", f"{RECORDS * each / GB * price:,.2f}")
            for room, each in size.items()
        ]
        return table(("bucket", "what lies there", "USD a month"), body)

    def ledger(self) -> float:
        """Give what the audit files of a million objects of one record cost for a month, in USD."""
        return LEDGER_BYTES * OBJECTS / GB * self.rate.prices["S3 Standard, GB-month"]

    def run(self) -> float:
        """Give the most that a run of `make test-aws` costs, in USD: rounded up to whole cents."""
        usd = self.objects().usd / OBJECTS * RUN_OBJECTS + self.idle().usd / MONTH_HOURS * RUN_HOURS
        return ceil(usd * 100) / 100

    def tables(self) -> dict[str, str]:
        """Give each table of the document."""
        return {
            "idle": self.idle().table("a month, idle", "how many", "USD"),
            "objects": self.objects().table("a million objects of one record", "how many", "USD"),
            "records": self.records().table("100 million records in a large object", "how many", "USD"),
            "stored": self.stored(),
        }


if __name__ == "__main__":
    for name, said in Costs.read(alarms=9).tables().items():
        print(f"{name}:\n{said}\n")  # noqa: T201 - to be put into the document
