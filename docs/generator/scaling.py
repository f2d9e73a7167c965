"""What executions and records take: the tables of docs/scaling.md that follow from the state machines."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

from docs.generator.markdown import table
from functions.shared.model.chunking import BULK_FROM, MOST_CHUNKS
from infra.settings import parse
from tests.support.steps import BULK, OF_CHUNKS, PIPELINE

RECORD_BYTES = len(json.dumps({"mission": "space", "source": "MASINT", "confidence": 0.95})) + 1
"""The sample record, with its line end."""

CHUNKS_STARTED_PER_SECOND = 100
"""https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"""

_EVENTS = {"Task": 5, "Map": 4}
"""History events of a state that succeeds: entered, scheduled, started, succeeded, exited; no Map Run is scheduled."""

_EVENTS_OF_AN_EXECUTION = 2


@dataclass(frozen=True)
class Usage:
    """What an execution takes if it succeeds; the start of a chunk's execution is a transition itself."""

    states: tuple[str, ...]
    transitions: int
    calls: int
    events: int

    @classmethod
    def of(cls, definition: dict[str, Any], *, starts: int = 0) -> "Usage":
        """Follow a definition from its first state to its end."""
        path = dict(_path(definition))
        kinds = [state["Type"] for state in path.values()]
        events = _EVENTS_OF_AN_EXECUTION + sum(_EVENTS[kind] for kind in kinds)
        return cls(tuple(path), starts + len(path), kinds.count("Task"), events)


def _path(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    name: str | None = definition["StartAt"]
    while name:
        yield name, definition["States"][name]
        name = definition["States"][name].get("Next")


BATCH, CHUNK, OBJECT = Usage.of(PIPELINE), Usage.of(OF_CHUNKS, starts=1), Usage.of(BULK)


def regions() -> dict[str, str]:
    """Write the tables, by their regions."""
    executions = {"a batch": BATCH, "a chunk of a large object": CHUNK, "the large object itself": OBJECT}
    return {
        "executions": table(
            ("execution of", "states", "transitions", "Lambda calls", "events in its history"),
            [(name, ", ".join(use.states), use.transitions, use.calls, use.events) for name, use in executions.items()],
        ),
        "records": _records(),
    }


def _records() -> str:
    settings = parse({})
    rows = []
    for count in (10**3, 10**6, 10**9, MOST_CHUNKS * settings.chunk_bytes // RECORD_BYTES):
        size = count * RECORD_BYTES
        chunks = ceil(size / settings.chunk_bytes) if size > BULK_FROM else 0
        transitions = OBJECT.transitions + chunks * CHUNK.transitions if chunks else BATCH.transitions
        calls = 1 + (OBJECT.calls + chunks * CHUNK.calls if chunks else BATCH.calls)
        rounds = max(1, ceil(chunks / settings.chunk_concurrency))
        seconds = ceil(chunks / CHUNKS_STARTED_PER_SECOND)
        rows.append((count, f"{size / 2**20:,.2f}", max(1, chunks), 1 + chunks, transitions, calls, rounds, seconds))
    headings = "records", "MiB", "batches", "executions", "transitions", "Lambda calls, with `start`", "rounds"
    return table((*headings, "seconds to start"), rows)
