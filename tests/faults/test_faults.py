"""Every call that the handlers make to AWS fails once, in every way; nothing is lost, doubled or claimed wrongly."""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from custody.assurance.findings import Result
from custody.assurance.reconcile import Reconciler, State
from custody.assurance.verify import stored_ledgers, verify_all
from custody.audit.object_state import ObjectState
from custody.audit.reader import AuditReader
from custody.executions.pipeline import Pipeline
from custody.ingest.raw_versions import Arrival
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.ledger import ChunkCounts, SummaryHeader
from functions.shared.model.messages import Batch, Counts
from tests.faults.engine import BULK, PIPELINE, Execution
from tests.faults.injection import Mode, Point, operations_of_aws, sites_in_the_code
from tests.faults.world import Scenario, World
from tests.support.buckets import Buckets

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

GOOD = {"mission": "space", "source": "MASINT", "confidence": 0.95}
BAD = {"mission": "space", "source": "RUMINT", "confidence": 1.7}
MIXED = json.dumps([GOOD, BAD, GOOD]).encode()
BOTH = ("written", "rejected", "written")
LINE = len(json.dumps(GOOD)) + 1


def lines(*given: Any) -> bytes:
    """Lay records out as JSON Lines, each as long as the longest."""
    return b"".join(json.dumps(record).encode().ljust(LINE - 1) + b"\n" for record in given)


LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MOST_POINTS = 2_000
"""More than this would make the suite slow: share calls between scenarios, or drop a scenario."""

SCENARIOS = (
    Scenario("a good record", json.dumps(GOOD).encode(), ("written",)),
    Scenario("no records", b"[]", ()),
    Scenario("a bad record, rejected at Validate", json.dumps(BAD).encode(), ("rejected",)),
    Scenario("good and bad records, by claim check", MIXED, BOTH, inline_limit=0),
    Scenario("good and bad records, tolerated", MIXED, BOTH, tolerated_percent=50.0),
    Scenario("Validate fails until it is fixed", json.dumps(GOOD).encode(), ("written",), fails_at="Validate"),
    Scenario("Write fails until it is fixed", MIXED, BOTH, fails_at="Write", inline_limit=0),
    Scenario("Write is called twice", MIXED, BOTH, repeats="Write"),
    Scenario("the contract is made looser", MIXED, ("written",) * 3, contract={"type": "object"}, at_once=True),
    Scenario("the contract is made stricter", MIXED, ("rejected",) * 3, contract={"required": ["what none has"]}),
    Scenario("somebody stops it at Write", MIXED, BOTH, stops_at="Write"),
    Scenario(
        "a chunk with a rejected record, and one of nothing else",
        lines(GOOD, BAD, BAD),
        ("written", "rejected", "rejected"),
        chunk_bytes=3 * LINE // 2,
    ),
    Scenario(
        "one of two chunks fails until it is fixed",
        lines(GOOD, GOOD),
        ("written",) * 2,
        fails_at="Write",
        fails_in=LINE,
        again=(LINE,),
        chunk_bytes=LINE,
    ),
    Scenario(
        "Summarize fails until it is fixed",
        lines(GOOD, GOOD),
        ("written",) * 2,
        fails_at="Summarize",
        chunk_bytes=LINE,
    ),
    Scenario(
        "somebody stops it in a chunk",
        lines(GOOD, GOOD),
        ("written",) * 2,
        stops_at="Transform",
        fails_in=LINE,
        chunk_bytes=LINE,
    ),
)


@dataclass
class Tally:
    """What all scenarios together have tried."""

    points: Counter[Mode] = field(default_factory=Counter)
    sites: set[tuple[str, int]] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    scenarios: int = 0


@pytest.fixture(scope="module")
def tally() -> Tally:
    return Tally()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_wherever_a_call_fails(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, tally: Tally, scenario: Scenario
) -> None:
    world = World.create(buckets, scenario, monkeypatch)
    assert_accounted_for(world, None)
    assert_only_what_is_needed_was_processed_again(world)
    faults = [(point, mode) for point in list(world.injector.calls) for mode in point.modes]
    assert faults, "the scenario makes calls"
    for fault in faults:
        assert_accounted_for(world, fault)
        tally.points[fault[1]] += 1
    tally.sites |= world.injector.sites
    tally.operations |= world.injector.operations
    tally.scenarios += 1


def test_every_call_that_the_handlers_can_make_was_tried(tally: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    if tally.scenarios < len(SCENARIOS):
        pytest.fail("this test judges all scenarios together: run the whole file")
    untried = {
        f"functions/{file}, line {first}"
        for file, first, last in sites_in_the_code()
        if not any(file == tried and first <= line <= last for tried, line in tally.sites)
    }
    assert not untried, f"no scenario makes these calls: {sorted(untried)}; add one that does"
    assert tally.operations == operations_of_aws()
    total = tally.points.total()
    assert total <= MOST_POINTS
    with capsys.disabled():
        print(f"\nfault injection: {total} points in {tally.scenarios} scenarios tried, {total} survived")  # noqa: T201 - for who runs the tests
        for mode, count in tally.points.items():
            print(f"  {count:>5}  {mode}")  # noqa: T201


def assert_accounted_for(world: World, fault: tuple[Point, Mode] | None) -> None:
    """Let an object live through a fault, and look at all that is left of it."""
    __tracebackhide__ = True
    try:
        batch = world.live(fault, lambda execution: assert_findable(world, execution))
        assert_exactly_one_outcome(world, batch.object.id)
        assert_one_processed_copy(world, batch)
        assert_verified(world, batch)
    except AssertionError as failed:
        where = f"{fault[0]}: {fault[1]}" if fault else "without a fault"
        raise AssertionError(f"{world.scenario.name}; {where}: {failed}") from failed


def assert_findable(world: World, execution: Execution) -> None:
    """A failed execution has a dead letter at once; it is open unless all records are delivered and committed."""
    audit = AuditReader(world.buckets.s3, "audit")
    dead_letters = audit.dead_letters_of(execution.name)
    assert dead_letters, f"{execution.error} has no dead letter"
    headers = [audit.header(entry) for entry in audit.ledger_keys(execution.name) if is_of_whole(world, entry)]
    done = any(
        not header.counts.rejected and not (isinstance(header, SummaryHeader) and header.chunks.failed)
        for header in headers
    )
    still_open = ObjectState(audit, execution.name).open_dead_letters
    assert bool(still_open) != done, f"open: {still_open}, though all written: {done}"


def assert_exactly_one_outcome(world: World, object_id: str) -> None:
    """The latest attempt of the batch, or of each chunk, says of each record what became of it, once."""
    audit = AuditReader(world.buckets.s3, "audit")
    latest = {entry.start: entry for entry in audit.ledger_keys(object_id) if not entry.discards}
    assert latest, "there is no ledger file"
    if world.scenario.is_cut:
        assert_summed_up(audit, latest.pop(WHOLE), list(latest.values()))
    found = [
        (line.position, type(line).__name__.removesuffix("Line").lower())
        for entry in latest.values()
        for line in audit.lines(entry)
    ]
    assert found == list(zip(world.scenario.positions, world.scenario.outcomes, strict=True))


def assert_summed_up(audit: AuditReader, summary: LedgerKey, chunks: list[LedgerKey]) -> None:
    """The summary of a bulk object says of each chunk what the latest ledger file of that says."""
    header = audit.header(summary)
    assert isinstance(header, SummaryHeader)
    assert header.chunks == ChunkCounts(total=len(chunks), committed=len(chunks), failed=0)
    assert header.counts == sum((audit.header(entry).counts for entry in chunks), Counts())
    assert [(chunk.start, chunk.attempt) for chunk in audit.chunks(summary)] == [
        (entry.start, entry.attempt) for entry in chunks
    ]


def assert_only_what_is_needed_was_processed_again(world: World) -> None:
    """A redrive of a bulk object leaves the chunks alone that are done."""
    if world.scenario.is_cut:
        again = [start for start, attempts in world.processed.items() if any(attempts)]
        assert tuple(again) == world.scenario.again, dict(world.processed)


def is_of_whole(world: World, entry: LedgerKey) -> bool:
    """Say whether a ledger file tells of the whole object."""
    return entry.is_summary or not world.scenario.is_cut


def assert_one_processed_copy(world: World, batch: Batch) -> None:
    """Consumers see each record that was written, once."""
    came = world.buckets.s3.head_object(Bucket="raw", Key=batch.object.key)["LastModified"]
    keys = world.buckets.keys("processed", f"mission/dt={came:%Y-%m-%d}/{batch.object.id}")
    delivered: list[Any] = [
        json.loads(line) for key in keys for line in world.buckets.body("processed", key).splitlines()
    ]
    written = [position for position, outcome in enumerate(world.scenario.outcomes) if outcome == "written"]
    assert len(keys) <= len(range(0, len(world.scenario.body), world.scenario.chunk_bytes))
    assert [record | {"confidence_band": None} for record in delivered] == [
        record | {"confidence_band": None} for record in records(world.scenario, written)
    ]


def assert_verified(world: World, batch: Batch) -> None:
    """What an operator can ask agrees: `verify` holds, and `reconcile` knows the object for what it is."""
    s3 = world.buckets.s3
    for verdict in verify_all(s3, "audit", stored_ledgers(s3, "audit", batch.object.id)):
        assert verdict.result is Result.HOLDS, verdict.where
    pipeline = Pipeline(cast("SFNClient", world.engine), PIPELINE, BULK, world.scenario.chunk_bytes)
    found = Reconciler(AuditReader(s3, "audit"), pipeline, LONG_AGO).reconcile(Arrival(batch.object, LONG_AGO))
    rejected = "rejected" in world.scenario.outcomes
    assert found.state is (State.REJECTED if rejected else State.WRITTEN), found
    is_open = found.dead_letter and found.dead_letter.open
    assert is_open is (True if rejected else None), "a dead letter is open if and only if records are rejected"


def records(scenario: Scenario, positions: list[int]) -> list[Any]:
    """Give the records of a scenario that come at these places."""
    return [scenario.records[position] for position in positions]
