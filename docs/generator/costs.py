"""The figures of docs/costs.md, from its own prices and assumptions and from what the code takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from docs.generator.markdown import number, rows, table
from docs.generator.scaling import BATCH, CHUNK, OBJECT, RECORD_BYTES
from infra.settings import parse
from tests.support.template import Deployment

OBJECTS, RECORDS = 1_000_000, 100_000_000
GB = 10**9
PART_BYTES = 8 * 2**20
"""Size of the parts of an upload."""

TRANSITION, CALL, GB_SECOND = "Step Functions transition", "Lambda request", "Lambda GB-second, Arm"
PUT, EVENT = "S3 PUT", "EventBridge opt-in data event"

Lines = list[tuple[str, str, float]]
"""What is billed, how many, and USD."""


@dataclass(frozen=True)
class Costs:
    """Prices in USD and assumptions, by the rows of docs/costs.md; requests to S3, by the rows of docs/scaling.md."""

    prices: Mapping[str, float]
    assumed: Mapping[str, float]
    requests: Mapping[str, list[int]]

    @classmethod
    def read(cls, costs: str, scaling: str) -> "Costs":
        """Read the tables of both documents."""
        prices = rows(costs, "price").items()
        return cls(
            {name: number(usd) / number(per.split()[0]) for name, (usd, per, *_) in prices},
            {name: number(cell) for name, (cell, *_) in rows(costs, "assumed").items()},
            {name: [int(number(cell)) for cell in cells] for name, cells in rows(scaling, "a batch that").items()},
        )

    def bill(self, *lines: tuple[str, str, float, str]) -> Lines:
        """Multiply each count by its price; a line is what is billed, its price, how many, and how that is written."""
        return [(name, how_many, count * self.prices[price]) for name, price, count, how_many in lines]

    def idle(self, alarms: int) -> Lines:
        """Return the bill of a month in which nothing happens."""
        return self.bill(
            ("KMS key", "KMS key, month", 1, "1 key"),
            ("alarms", "CloudWatch alarm, month", alarms, f"{alarms} alarms"),
        )

    def objects(self) -> Lines:
        """Return the bill of a million objects of one record each."""
        raw_read, staged, staged_read, processed, audit = self.requests["travels in its messages"]
        puts, gets, calls = 1 + staged + processed + audit, raw_read + staged_read, BATCH.calls + 1
        seconds = self._gb_seconds()
        each = [
            ("Step Functions", TRANSITION, BATCH.transitions, f"{BATCH.transitions} transitions"),
            ("Lambda calls", CALL, calls, f"{calls} calls, with `start`"),
            ("Lambda time", GB_SECOND, seconds, f"{seconds:.3f} GB-seconds"),
            ("S3 writes", PUT, puts, f"{puts} PUTs, with your own"),
            ("S3 reads", "S3 GET", gets, f"{gets} GET"),
            ("EventBridge", EVENT, processed, f"{processed} delivery"),
        ]
        lines = [(name, price, count * OBJECTS, f"1,000,000 x {what}") for name, price, count, what in each]
        return self.bill(*lines) + self._watching(OBJECTS, calls, BATCH.events)

    def records(self) -> Lines:
        """Return the bill of many records in one large object."""
        size = RECORDS * RECORD_BYTES
        chunks = ceil(size / parse({}).chunk_bytes)
        calls = chunks * CHUNK.calls + OBJECT.calls + 1
        seconds = RECORDS * self.assumed["µs of all steps for a record among many"] / 10**6
        _, staged, _, processed, audit = self.requests["is staged"]
        puts = (staged + processed + audit) * chunks + ceil(size / PART_BYTES) + 2
        transitions = chunks * CHUNK.transitions + OBJECT.transitions
        events = ceil((chunks * CHUNK.events + OBJECT.events) / (chunks + 1))
        sum_of_transitions = f"{chunks} chunks x {CHUNK.transitions} + {OBJECT.transitions}"
        return self.bill(
            ("Step Functions", TRANSITION, transitions, sum_of_transitions),
            ("Lambda calls", CALL, calls, f"{chunks} x {CHUNK.calls} + {OBJECT.calls + 1}"),
            ("Lambda time", GB_SECOND, seconds, f"{RECORDS:,} records; {seconds:,.0f} GB-seconds"),
            ("S3 writes", PUT, puts, f"{puts:,} PUTs, with your upload in parts of 8 MiB"),
            ("EventBridge", EVENT, processed * chunks, f"{processed * chunks} deliveries"),
        ) + self._watching(chunks + 1, ceil(calls / (chunks + 1)), events)

    def stored(self) -> Lines:
        """Return the bill of a month in which these records are kept."""
        sizes = {
            "raw": RECORD_BYTES,
            "processed": self.assumed["bytes of a processed record"],
            "audit": self.assumed["bytes of a record in the ledger"],
        }
        stored = "S3 Standard, GB-month"
        lines = [(name, stored, RECORDS * size / GB, f"{RECORDS:,} x {size:g} bytes") for name, size in sizes.items()]
        return self.bill(*lines)

    def _gb_seconds(self) -> float:
        settings = parse({})
        steps = sum(settings.size(step).memory_mb for step in ("validate", "transform", "write"))
        taken = steps * self.assumed["ms of a step for one record"]
        return (taken + settings.size("start").memory_mb * self.assumed["ms of start"]) / 1024 / 1000

    def _watching(self, executions: int, calls: int, events: int) -> Lines:
        logged = self.assumed["bytes that a call logs"] * calls
        logged += self.assumed["bytes that an event of an execution logs"] * events
        stored = executions * logged / GB
        traced = executions * self.assumed["share of executions that are traced, %"] / 100
        how_many = f"{calls} calls and {events} events an execution; {stored:,.2f} GB"
        return self.bill(
            ("logs", "CloudWatch Logs, GB taken in", stored, how_many),
            ("X-Ray", "X-Ray trace", traced, f"{traced:,.0f} traces"),
        )

    def summary(self, alarms: int) -> str:
        """List the totals."""
        objects, records = total(self.objects()), total(self.records())
        share = self.objects()[0][2] / objects
        return f"""\
- **Nothing happens:** {total(self.idle(alarms)):.2f} a month, for the key and the alarms.
- **Small objects:** about {objects:.0f} a million, {share:.0%} of it for state transitions.
- **Large objects:** about {records:.2f} for 100 million records, {total(self.stored()):.2f} a month to keep them."""


def total(lines: Lines) -> float:
    """Sum up a bill."""
    return sum(usd for *_, usd in lines)


def written(heading: str, lines: Lines) -> str:
    """Write a bill as a table, with its total."""
    cells = [(name, how_many, f"{usd:,.2f}") for name, how_many, usd in lines]
    return table((heading, "how many", "USD"), [*cells, ("**total**", "", f"**{total(lines):,.2f}**")])


def regions(costs: str, scaling: str, deployments: Mapping[str, Deployment]) -> dict[str, str]:
    """Write the tables and lists of docs/costs.md, by their regions."""
    bills = Costs.read(costs, scaling)
    alarms = len(deployments["prod"].of_type("AWS::CloudWatch::Alarm"))
    return {
        "costs": bills.summary(alarms),
        "costs-idle": written("a month, idle", bills.idle(alarms)),
        "costs-objects": written("a million objects of one record", bills.objects()),
        "costs-records": written("100 million records in a large object", bills.records()),
        "costs-stored": written("a month, by bucket", bills.stored()),
    }
