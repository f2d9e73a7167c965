"""A deployment in memory in which one call fails; events arrive twice and late, and failures are redriven."""

import json
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from functions.dead_letter.handler import handle as dead_letter
from functions.shared import aws
from functions.shared.errors import AccessRefused, CustodyError
from functions.shared.model import chunking
from functions.shared.model.messages import Batch
from functions.start import handler as start
from functions.summarize import handler as summarize
from functions.transform import handler as transform
from functions.validate import contracts
from functions.validate import handler as validate
from functions.write import handler as write
from tests.faults.engine import BULK, PIPELINE, Engine, Execution, LambdaError
from tests.faults.injection import INVOKE, Errors, Injector, Killed, Mode, Point, Stopped
from tests.support import steps
from tests.support.buckets import Buckets
from tests.support.steps import CALLED, handler
from tests.workflow import conftest as workflow

LOAD = contracts.load
HANDLERS = {state: handler(state) for state in CALLED}
ASYNCHRONOUS_CALLS = 3
UNCUT = 2**26
"""A chunk size that is larger than any object here."""
OF_LAMBDA = Errors(
    busy=LambdaError("Lambda.TooManyRequestsException"),
    lost=LambdaError("Lambda.SdkClientException"),
    refused=LambdaError("Lambda.ResourceNotFoundException"),
)


@dataclass(frozen=True)
class Scenario:
    """What happens to an object, apart from the fault; its records have these `outcomes` in the end.

    `fails_at` is a step that fails until it is fixed, `stops_at` a step at which the execution is stopped, `contract`
    a changed contract that is then deployed; each is followed by a redrive. A contract is deployed when the object
    has reached its own end or, `at_once`, as soon as anything fails. `repeats` is a step that Lambda calls twice.
    `inline_limit`, `tolerated_percent` and `chunk_bytes` are settings. Of several chunks, only the chunk that begins
    at `fails_in` fails, or is stopped; the chunks `again` are processed at a second attempt.
    """

    name: str
    body: bytes
    outcomes: tuple[str, ...]
    fails_at: str | None = None
    stops_at: str | None = None
    contract: dict[str, Any] | None = None
    at_once: bool = False
    repeats: str | None = None
    inline_limit: int = 65_536
    tolerated_percent: float = 0.0
    chunk_bytes: int = UNCUT
    fails_in: int = 0
    again: tuple[int, ...] = ()

    @property
    def is_cut(self) -> bool:
        """Whether the object is JSON Lines in chunks."""
        return self.chunk_bytes < len(self.body)

    @property
    def written(self) -> list[Any]:
        """The records that are to be written, in order; the others need not be JSON."""
        if self.is_cut:
            pairs = zip(self.body.splitlines(), self.outcomes, strict=True)
            return [json.loads(line) for line, outcome in pairs if outcome == "written"]
        document = json.loads(self.body)
        records = document if isinstance(document, list) else [document]
        return [record for record, outcome in zip(records, self.outcomes, strict=True) if outcome == "written"]

    @property
    def positions(self) -> list[int]:
        """The positions of the records: of JSON Lines, by byte."""
        if not self.is_cut:
            return list(range(len(self.outcomes)))
        lines = self.body.splitlines(keepends=True)
        return [sum(map(len, lines[:number])) for number in range(len(lines))]

    @property
    def needs_redrive(self) -> bool:
        """Whether it fails even without a fault, until it is fixed and redriven."""
        return bool(self.fails_at or self.stops_at or self.contract)

    @property
    def end(self) -> tuple[str, str | None]:
        """The final status and error of the execution."""
        rejected = 100.0 * self.outcomes.count("rejected") > self.tolerated_percent * len(self.outcomes)
        wholly = self.outcomes and "written" not in self.outcomes
        return ("FAILED", "RecordsRejected") if rejected or wholly else ("SUCCEEDED", None)


@dataclass
class World:
    """The buckets, state machines and functions; `processed` has the attempts of each chunk by its start."""

    buckets: Buckets
    scenario: Scenario
    injector: Injector = field(default_factory=Injector)
    fixed: bool = False
    objects: int = 0
    processed: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = Engine({PIPELINE: steps.PIPELINE, BULK: workflow.BULK}, self._invoke)

    @classmethod
    def create(cls, buckets: Buckets, scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> "World":
        """Apply the settings of a scenario, and put the injector in place."""
        world = cls(buckets, scenario)
        real = aws._s3()  # noqa: SLF001 - the injector stands before the client
        monkeypatch.setattr(aws, "_s3", lambda: world.injector.client(real))
        monkeypatch.setattr(aws, "_stepfunctions", lambda: world.injector.client(world.engine))
        begins = replace(start.ENVIRONMENT, pipeline_arn=PIPELINE, bulk_arn=BULK, chunk_bytes=scenario.chunk_bytes)
        monkeypatch.setattr(start, "ENVIRONMENT", begins)
        monkeypatch.setattr(chunking, "BULK_FROM", scenario.chunk_bytes)
        monkeypatch.setattr(contracts, "load", world.contract)
        limit, percent = scenario.inline_limit, scenario.tolerated_percent
        monkeypatch.setattr(validate, "ENVIRONMENT", replace(validate.ENVIRONMENT, inline_limit_bytes=limit))
        monkeypatch.setattr(transform, "ENVIRONMENT", replace(transform.ENVIRONMENT, inline_limit_bytes=limit))
        monkeypatch.setattr(write, "ENVIRONMENT", replace(write.ENVIRONMENT, tolerated_rejects_percent=percent))
        monkeypatch.setattr(summarize, "ENVIRONMENT", replace(summarize.ENVIRONMENT, tolerated_rejects_percent=percent))
        return world

    def contract(self, dataset: str) -> contracts.Contract:
        """Return the contract that is deployed now."""
        if not (self.fixed and self.scenario.contract):
            return LOAD(dataset)
        return contracts.parse(json.dumps(self.scenario.contract | {"$id": "urn:test:2"}).encode())

    def live(self, fault: tuple[Point, Mode] | None, check: Callable[[Execution], None]) -> Batch:
        """Upload an object, and redrive it until it has ended as it should; `check` is called at each failure.

        A fault may cost one more redrive than the scenario needs.
        """
        self.injector.fault, self.injector.hit, self.fixed = fault, False, False
        self.injector.calls.clear()
        self.processed.clear()
        self.buckets.empty()
        self.engine.ends.clear()
        self.objects += 1
        ending = "jsonl" if self.scenario.is_cut else "json"
        batch = self.buckets.upload(f"mission/{self.objects}.{ending}", self.scenario.body)
        event = _created(batch)
        for _ in range(2):
            self._deliver("start", start.handle, event)
        self.engine.run()
        self._deliver_ends()
        execution = self.engine.named(batch.object.id)
        redrives, allowed, was_hit = 0, int(self.scenario.needs_redrive), False
        while (self.scenario.needs_redrive and not self.fixed) or not self._is_settled(execution):
            check(execution)
            if self.injector.hit and not was_hit:
                was_hit, its_own = True, int(self._needs_a_redrive_of_its_own)
                allowed = max(allowed, redrives + 1 + its_own)
            assert redrives < allowed, f"not settled after {redrives} redrives: {execution.error}"
            waits = self.scenario.contract is not None and not self.scenario.at_once
            self.fixed = self.fixed or not waits or execution.error == "RecordsRejected"
            self.engine.redrive(execution)
            self._deliver_ends()
            redrives += 1
        self._deliver("start", start.handle, event)
        self.engine.run()
        for late in list(self.engine.ends):
            self._deliver("DeadLetter by event", dead_letter, late)
        assert self.injector.hit or fault is None, "the run did not reach the point"
        return batch

    @property
    def _needs_a_redrive_of_its_own(self) -> bool:
        """Whether the scenario needs another redrive than the one that fixes a fault.

        A contract is deployed once the object has reached its own end. A failed chunk is processed again only by the
        redrive after the one in which the other chunks, or Summarize, reach theirs.
        """
        waits = self.scenario.contract is not None or self.scenario.is_cut
        return waits and self.scenario.needs_redrive and not self.fixed

    def _is_settled(self, execution: Execution) -> bool:
        """Whether it ended as it should, and its records have an outcome."""
        is_as_expected = (execution.status, execution.error) == self.scenario.end
        return is_as_expected and bool(self.buckets.keys("audit", f"ledger/{execution.name}/"))

    def _deliver_ends(self) -> None:
        for end in list(self.engine.ends):
            self._deliver("DeadLetter by event", dead_letter, end)

    def _deliver(self, function: str, handler: Callable[[dict[str, Any], Any], Any], event: dict[str, Any]) -> None:
        """Call a function asynchronously, as Lambda does: after a failure, twice more."""
        raised: BaseException | None = None
        for _ in range(ASYNCHRONOUS_CALLS):
            try:
                self._within(function, handler, json.loads(json.dumps(event)))
            except (Exception, Killed) as failed:  # noqa: BLE001 - Lambda catches whatever a function raises
                raised = failed
            else:
                return
        raise AssertionError(f"{function} failed {ASYNCHRONOUS_CALLS} times") from raised

    def _invoke(self, state: str, payload: dict[str, Any]) -> Any:
        step = state.removesuffix("Chunk")
        chunk = payload["batch"]["chunk"] or {"start": self.scenario.fails_in}
        if step == "Validate":
            self.processed[chunk["start"]].append(payload["batch"]["attempt"])
        if not self.fixed and chunk["start"] == self.scenario.fails_in:
            if step == self.scenario.stops_at:
                raise Stopped
            if step == self.scenario.fails_at:
                raise AccessRefused("PutObject was answered AccessDenied")
        if step == self.scenario.repeats:
            with suppress(CustodyError):  # its response is lost
                self._within(state, HANDLERS[step], json.loads(json.dumps(payload)))
        return self._within(state, HANDLERS[step], payload)

    def _within(self, function: str, handler: Callable[[dict[str, Any], Any], Any], event: dict[str, Any]) -> Any:
        self.injector.function = function
        return self.injector.call(INVOKE, lambda: handler(event, None), OF_LAMBDA)


def _created(batch: Batch) -> dict[str, Any]:
    raw = batch.object
    s3_object = {"key": raw.key, "size": raw.size, "eTag": raw.etag, "versionId": raw.version_id}
    return {"Records": [{"s3": {"bucket": {"name": raw.bucket}, "object": s3_object}}]}
