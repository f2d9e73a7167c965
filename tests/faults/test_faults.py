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
from tests.workflow.conftest import BAD, GOOD, LINE, lines

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

ONE, MIXED, TWO = json.dumps(GOOD).encode(), json.dumps([GOOD, BAD, GOOD]).encode(), lines(GOOD, GOOD)
BOTH, WRITTEN = ("written", "rejected", "written"), ("written",)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MOST_POINTS = 2_000
"""More than this would make the suite slow: share calls between scenarios, or drop a scenario."""

SCENARIOS = (
    Scenario("a good record", ONE, WRITTEN),
    Scenario("no records", b"[]", ()),
    Scenario("a bad record, rejected at Validate", json.dumps(BAD).encode(), ("rejected",)),
    Scenario("good and bad records, by claim check", MIXED, BOTH, inline_limit=0),
    Scenario("good and bad records, tolerated", MIXED, BOTH, tolerated_percent=50.0),
    Scenario("Validate fails until it is fixed", ONE, WRITTEN, fails_at="Validate"),
    Scenario("Write fails until it is fixed", MIXED, BOTH, fails_at="Write", inline_limit=0),
    Scenario("Write is called twice", MIXED, BOTH, repeats="Write"),
    Scenario("the contract becomes looser", MIXED, WRITTEN * 3, contract={"type": "object"}, at_once=True),
    Scenario("the contract becomes stricter", MIXED, ("rejected",) * 3, contract={"required": ["what none has"]}),
    Scenario("the execution is stopped at Write", MIXED, BOTH, stops_at="Write"),
    Scenario(
        "a chunk with a rejected record, and a chunk of nothing but a malformed one",
        lines(GOOD, BAD) + lines(BAD).replace(b"{", b"["),
        ("written", "rejected", "rejected"),
        chunk_bytes=3 * LINE // 2,
    ),
    Scenario(
        "a chunk fails until it is fixed",
        TWO,
        WRITTEN * 2,
        fails_at="Write",
        fails_in=LINE,
        again=(LINE,),
        chunk_bytes=LINE,
    ),
    Scenario("Summarize fails until it is fixed", TWO, WRITTEN * 2, fails_at="Summarize", chunk_bytes=LINE),
    Scenario(
        "the execution is stopped in a chunk", TWO, WRITTEN * 2, stops_at="Transform", fails_in=LINE, chunk_bytes=LINE
    ),
)


@dataclass
class Tally:
    """What all scenarios together tried."""

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
        pytest.fail("this test needs every scenario: run the whole file")
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
        print(f"\nfault injection: {total} points in {tally.scenarios} scenarios tried, {total} survived")  # noqa: T201 - for whoever runs the tests
        for mode, count in tally.points.items():
            print(f"  {count:>5}  {mode}")  # noqa: T201


def assert_accounted_for(world: World, fault: tuple[Point, Mode] | None) -> None:
    """Process an object with a fault, and check all that is left of it."""
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
    of_whole = [key for key in audit.ledger_keys(execution.name) if key.is_summary or not world.scenario.is_cut]
    headers = [audit.header(key) for key in of_whole]
    done = any(
        not header.counts.rejected and not (isinstance(header, SummaryHeader) and header.chunks.failed)
        for header in headers
    )
    still_open = ObjectState(audit, execution.name).open_dead_letters
    assert bool(still_open) != done, f"open: {still_open}, though all written: {done}"


def assert_exactly_one_outcome(world: World, object_id: str) -> None:
    """The latest attempt of the batch, or of each chunk, records one outcome per record."""
    audit = AuditReader(world.buckets.s3, "audit")
    latest = {entry.start: entry for entry in audit.ledger_keys(object_id) if not entry.discards}
    assert latest, "there is no ledger file"
    if world.scenario.is_cut:
        assert_summed_up(audit, latest.pop(WHOLE), list(latest.values()))
    recorded = [
        (line.position, type(line).__name__.removesuffix("Line").lower())
        for entry in latest.values()
        for line in audit.lines(entry)
    ]
    assert recorded == list(zip(world.scenario.positions, world.scenario.outcomes, strict=True))


def assert_summed_up(audit: AuditReader, summary: LedgerKey, chunks: list[LedgerKey]) -> None:
    """The summary of a bulk object agrees with the latest ledger file of each chunk."""
    header = audit.header(summary)
    assert isinstance(header, SummaryHeader)
    assert header.chunks == ChunkCounts(total=len(chunks), committed=len(chunks), failed=0)
    assert header.counts == sum((audit.header(entry).counts for entry in chunks), Counts())
    assert [(chunk.start, chunk.attempt) for chunk in audit.chunks(summary)] == [
        (entry.start, entry.attempt) for entry in chunks
    ]


def assert_only_what_is_needed_was_processed_again(world: World) -> None:
    """A redrive of a bulk object does not repeat chunks that are done."""
    if world.scenario.is_cut:
        again = [start for start, attempts in world.processed.items() if any(attempts)]
        assert tuple(again) == world.scenario.again, dict(world.processed)


def assert_one_processed_copy(world: World, batch: Batch) -> None:
    """Consumers see each written record once."""
    arrived = world.buckets.s3.head_object(Bucket="raw", Key=batch.object.key)["LastModified"]
    keys = world.buckets.keys("processed", f"mission/dt={arrived:%Y-%m-%d}/{batch.object.id}")
    delivered: list[Any] = [
        json.loads(line) for key in keys for line in world.buckets.body("processed", key).splitlines()
    ]
    assert len(keys) <= len(range(0, len(world.scenario.body), world.scenario.chunk_bytes))
    assert [each | {"confidence_band": None} for each in delivered] == [
        each | {"confidence_band": None} for each in world.scenario.written
    ]


def assert_verified(world: World, batch: Batch) -> None:
    """The operator's view agrees: `verify` holds, and `reconcile` reports the right state."""
    s3 = world.buckets.s3
    for verdict in verify_all(s3, "audit", stored_ledgers(s3, "audit", batch.object.id)):
        assert verdict.result is Result.HOLDS, verdict.where
    pipeline = Pipeline(cast("SFNClient", world.engine), PIPELINE, BULK, world.scenario.chunk_bytes)
    (reconciled,) = Reconciler(AuditReader(s3, "audit"), pipeline, LONG_AGO).run([Arrival(batch.object, LONG_AGO)])
    rejected = "rejected" in world.scenario.outcomes
    assert reconciled.state is (State.REJECTED if rejected else State.WRITTEN), reconciled
    is_open = reconciled.dead_letter and reconciled.dead_letter.open
    assert is_open is (True if rejected else None), "a dead letter is open if and only if records are rejected"
