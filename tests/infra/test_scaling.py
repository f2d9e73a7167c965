"""docs/scaling.md: each figure is worked out again from the template, the code and the quotas that it lists."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature
from math import ceil
from typing import Any

import pytest

from custody.commands.backfill import backfill
from functions.shared.model.chunking import MOST_CHUNKS, cut
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch
from functions.shared.records.strict_json import encode
from infra.app import ROOT
from infra.constructs.bulk_definition import MAP
from infra.constructs.failure_queue import RETRIES
from infra.constructs.ingestion import RECEIVES
from infra.settings import Settings
from tests.support.template import Deployment

DOCUMENT = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| ([^|]+) \| ([0-9,]+) \| [^|]+ \| \[[\w ]+\]\(https://docs\.aws\.amazon\.com/\S+\) \|$", re.MULTILINE
)
QUOTAS = {name: int(number.replace(",", "")) for name, number in ROW.findall(DOCUMENT.partition("## Quotas")[2])}

SAMPLE = {"mission": "space", "source": "MASINT", "confidence": 0.95}
REGIONS = ("large regions", "other regions")
MINUTE = 60
ASYNC_WAITS = (60, 120)
"""Seconds before the second and the third try of an asynchronous call
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html)."""

OF_A_TASK = 5
"""History events of a Task: entered, scheduled, started, succeeded, exited; of each try that failed there are three."""

OF_A_MAP = 4
"""History events of a Distributed Map: entered, run started, run succeeded, exited."""

OF_A_CHOICE = 2
"""Entered and exited."""

OF_AN_EXECUTION = 2
"""Started and succeeded."""


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(told(cell) for cell in line)} |" for line in lines)


def assert_said(text: str) -> None:
    """Fail, and show what the document ought to say, unless it does; line ends and emphasis do not count."""
    assert plain(text) in plain(DOCUMENT), f"docs/scaling.md ought to say:\n{text}"


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("**", ""))


def told(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def size(number: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            return f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError


def good_path(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Follow a machine from its first state to its end, through nothing that a failure leads to."""
    name: str | None = definition["StartAt"]
    while name:
        state = definition["States"][name]
        yield name, state
        name = state.get("Next")


@dataclass(frozen=True)
class Taken:
    """What an execution takes if all goes well; `transitions` with the start of a chunk's execution."""

    states: tuple[str, ...]
    transitions: int
    calls: int
    events: int

    @classmethod
    def of(cls, definition: dict[str, Any], *, starts: int = 0) -> "Taken":
        path = dict(good_path(definition))
        maps = sum(state["Type"] == "Map" for state in path.values())
        calls = len(path) - maps
        events = OF_AN_EXECUTION + OF_A_TASK * calls + OF_A_MAP * maps
        return cls(tuple(path), starts + len(path), calls, events)


@dataclass(frozen=True)
class Stack:
    """What the default stack says of itself."""

    pipeline: dict[str, Any]
    bulk: dict[str, Any]
    chunk_bytes: int
    buffer: dict[str, Any]
    emptying: dict[str, Any]

    @property
    def batch(self) -> Taken:
        return Taken.of(self.pipeline)

    @property
    def chunk(self) -> Taken:
        return Taken.of(self.bulk["States"][MAP]["ItemProcessor"], starts=1)

    @property
    def object(self) -> Taken:
        return Taken.of(self.bulk)

    @property
    def most_events(self) -> int:
        """History events of a batch of which every call, and that of DeadLetter, is retried to the last."""
        tasks = [state for state in self.pipeline["States"].values() if state["Type"] == "Task"]
        return OF_AN_EXECUTION + sum(map(most_of, tasks))

    @property
    def most_events_of_a_redrive(self) -> int:
        """DeadLetter called again, Resume, and all tasks once more, between the redrive itself and its end."""
        return most_of(self.pipeline["States"]["DeadLetter"]) + OF_A_CHOICE + self.most_events


def most_of(task: dict[str, Any]) -> int:
    """History events of a task that is retried to the last: each try has three."""
    return 2 + 3 * (1 + retries(task))


def retries(task: dict[str, Any]) -> int:
    return sum(retry["MaxAttempts"] for retry in task["Retry"])


@pytest.fixture
def stack(dev: Deployment, buffered: Deployment) -> Stack:
    (emptying,) = buffered.of_type("AWS::Lambda::EventSourceMapping").values()
    return Stack(
        json.loads(dev.definition("pipeline")),
        json.loads(dev.definition("bulk")),
        int(dev.template["Outputs"]["ChunkBytes"]["Value"]),
        buffered.of_type("AWS::SQS::Queue")["custody-dev-buffer"],
        emptying,
    )


def json_lines(number: int) -> RawObject:
    return RawObject("raw", "mission/many.jsonl", "v", number, "e")


def test_what_an_execution_takes(stack: Stack) -> None:
    rows = [
        (name, ", ".join(taken.states), taken.transitions, taken.calls, taken.events)
        for name, taken in (
            ("a batch", stack.batch),
            ("a chunk of a large object", stack.chunk),
            ("the large object itself", stack.object),
        )
    ]
    assert_said(table(("execution of", "states", "transitions", "Lambda calls", "events in its history"), rows))


def test_a_history_has_bucket_for_many_redrives(stack: Stack) -> None:
    (tries,) = {retries(state) for state in stack.pipeline["States"].values() if state["Type"] == "Task"}
    more = stack.most_events_of_a_redrive
    redrives = (QUOTAS["events in the history of an execution"] - stack.most_events) // more

    assert_said(f"tried again up to {tries} times")
    assert_said(f"at most {stack.most_events} events")
    assert_said(f"each redrive at most {more} more")
    assert_said(f"reached after {redrives} redrives")


def test_what_many_records_take(stack: Stack) -> None:
    line = len(json.dumps(SAMPLE)) + 1
    at_a_time = stack.bulk["States"][MAP]["MaxConcurrency"]
    rate = QUOTAS["executions of chunks started a second, for each object"]
    rows = []
    for number in (10**3, 10**6, 10**9, MOST_CHUNKS * stack.chunk_bytes // line):
        plan = cut(json_lines(number * line), stack.chunk_bytes)
        chunks = len(plan.chunks) if plan else 0
        taken = (
            (1 + chunks, stack.object.transitions + chunks * stack.chunk.transitions)
            if plan
            else (1, stack.batch.transitions)
        )
        calls = stack.object.calls + chunks * stack.chunk.calls if plan else stack.batch.calls
        rounds, seconds = ceil(chunks / at_a_time) or 1, ceil(chunks / rate)
        rows.append((number, size(number * line), chunks or 1, *taken, 1 + calls, rounds, seconds))
    heading = (
        "records",
        "size",
        "batches",
        "executions",
        "transitions",
        "Lambda calls, with `start`",
        "rounds",
        "seconds to start",
    )

    assert_said(f"records are {line} bytes long")
    assert_said(f"how often {at_a_time} chunks (`chunk_concurrency`) are processed")
    assert_said(f"As it starts {rate} a second")
    assert_said(table(heading, rows))
    assert_said(f"{MOST_CHUNKS:,} chunks of `chunk_bytes`")


def test_the_longest_plan_fits_into_a_message(stack: Stack) -> None:
    raw = json_lines(MOST_CHUNKS * stack.chunk_bytes)
    message = encode(Batch(raw, plan=cut(raw, stack.chunk_bytes)).encode())

    limit = QUOTAS["bytes of a message between states"]
    assert_said(f"has {len(message):,} bytes of the {limit:,} that it may have")
    assert len(message) < limit


def test_what_arrives(stack: Stack) -> None:
    batch = stack.emptying["BatchSize"]
    rows = []
    for number in (1, 10**5):
        for shape, calls in (("direct", number), ("buffered", ceil(number / batch))):
            started, left, drained = zip(*(arrivals(number, shape, region) for region in REGIONS), strict=True)
            rows.append((number, shape, calls, *map(by_region, (started, left, drained))))
    heading = (
        "objects a minute",
        "ingestion",
        "calls of `start` at least",
        "started in that minute",
        "left over for somebody",
        "all started after seconds",
    )

    assert_said(table(heading, rows))


def arrivals(number: int, shape: str, region: str) -> tuple[int, int, int | str]:
    """Say how many are started within the minute, how many events give up, and when all are started."""
    rate, burst = QUOTAS[f"`StartExecution` a second, {region}"], QUOTAS[f"`StartExecution` at once, {region}"]
    started = min(number, burst + rate * MINUTE)
    left = max(0, number - burst - rate * (MINUTE + sum(ASYNC_WAITS))) if shape == "direct" else 0
    drained = max(MINUTE, ceil((number - burst) / rate))
    return started, left, "never by itself" if left else drained


def by_region(numbers: tuple[object, ...]) -> str:
    large, other = map(told, numbers)
    return large if large == other else f"{large} (other regions: {other})"


def test_the_tries_of_a_direct_event_are_those_that_the_document_counts_with() -> None:
    assert len(ASYNC_WAITS) == RETRIES


def test_how_the_buffer_is_emptied(stack: Stack) -> None:
    at_a_time, batch = stack.emptying["ScalingConfig"]["MaximumConcurrency"], stack.emptying["BatchSize"]
    large, other = (round(1000 * at_a_time / QUOTAS[f"`StartExecution` a second, {region}"]) for region in REGIONS)
    hidden = stack.buffer["VisibilityTimeout"] // MINUTE

    assert_said(f"takes {batch} events a call, in {at_a_time} calls at a time")
    assert_said(f"takes less than {large} ms ({other} ms in other regions)")
    assert_said(f"comes again after {hidden} minutes, up to {RECEIVES} times")
    assert_said(f"the buffer has {batch * at_a_time} in flight, and as many as failed in the last {hidden} minutes")


def test_what_so_many_objects_every_minute_would_need(stack: Stack) -> None:
    rate = ceil(10**5 / MINUTE)

    assert_said(f"{rate:,} a second take a `StartExecution` quota of as many")
    assert_said(f"and {rate * stack.batch.transitions:,} transitions a second")


def test_nothing_is_narrower_than_the_start_of_executions_unless_so_much_is_asked_of_it(stack: Stack) -> None:
    rows = [
        (what, *(f"{QUOTAS[quota.format(region)] / starts(region):,.1f}" for region in REGIONS))
        for what, quota in (
            ("transitions an object takes", "state transitions a second, {}"),
            ("seconds that an object spends in functions, together", "Lambda calls at a time"),
            ("seconds that an execution is open", "open executions"),
            (
                "requests to write under one prefix that an object takes",
                "requests to write a second, for each prefix of a bucket",
            ),
            (
                "requests to read under one prefix that an object takes",
                "requests to read a second, for each prefix of a bucket",
            ),
            ("KMS requests that an object takes", "KMS requests a second, smallest regions"),
            (
                "EventBridge invocations that an object takes: one for each consumer, and one with `raw_bucket`",
                "EventBridge invocations a second, {}",
            ),
        )
    ]

    assert_said(table(("more than so many", "large regions", "other regions"), rows))
    for region in REGIONS:
        assert stack.batch.transitions < QUOTAS[f"state transitions a second, {region}"] / starts(region)
    large, other = map(starts, REGIONS)
    assert_said(f"at {large} objects a second ({other} in other regions)")
    rate = QUOTAS["executions of chunks started a second, for each object"]
    assert_said(f"start at {rate} a second, and take {stack.chunk.transitions} transitions each")
    assert_said(f"once {QUOTAS['open Map Runs']:,} are open")


def starts(region: str) -> int:
    return QUOTAS[f"`StartExecution` a second, {region}"]


def test_what_a_backfill_takes_is_said() -> None:
    rate = float(signature(backfill).parameters["per_second"].default)

    assert_said(
        f"at {rate:g} a second unless you say otherwise: a million objects in {ceil(10**6 / rate / 3600)} hours"
    )


def test_how_long_the_rule_on_arrivals_tries_is_said(existing: Deployment) -> None:
    (rule,) = [
        found["Targets"][0]
        for name, found in existing.of_type("AWS::Events::Rule").items()
        if name.endswith("-arrivals")
    ]

    assert rule["RetryPolicy"]["MaximumEventAgeInSeconds"] == 6 * 3600
    assert_said("what fails is tried for up to six hours, then waits in the start-dlq")


def test_every_quota_has_a_source_and_the_highest_settings_keep_to_them() -> None:
    rows = [line for line in DOCUMENT.partition("## Quotas")[2].splitlines() if line.startswith("|")][2:]
    limits = {
        name: Settings.__dataclass_fields__[name].metadata for name in ("chunk_concurrency", "buffer_concurrency")
    }

    assert all("](https://docs.aws.amazon.com/" in row for row in rows)
    assert len(QUOTAS) == sum(bool(re.search(r"^\| [^|]+ \| [0-9,]+ \|", row)) for row in rows)
    assert limits["chunk_concurrency"]["high"] == QUOTAS["chunks of an object at a time"]
    assert limits["buffer_concurrency"]["high"] == QUOTAS["calls of the buffer at a time"]
