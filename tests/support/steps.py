"""The state machines: their definitions, the steps of a batch, and the functions that states call."""

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from infra.constructs.bulk_definition import MAP, compose

ROOT = Path(__file__).parents[2]
FILES = {name: ROOT / "statemachine" / f"{name}.asl.json" for name in ("pipeline", "bulk")}
PIPELINE, FILE_OF_BULK = (json.loads(file.read_text(encoding="utf-8")) for file in FILES.values())
BULK = compose(FILE_OF_BULK, PIPELINE, chunk_concurrency=100)
OF_CHUNKS = BULK["States"][MAP]["ItemProcessor"]

Handler = Callable[[dict[str, Any], Any], Any]


def in_order(definition: dict[str, Any]) -> tuple[str, ...]:
    """Return the states of a definition from start to end."""
    names = [definition["StartAt"]]
    while following := definition["States"][names[-1]].get("Next"):
        names.append(following)
    return tuple(names)


def folder(state: str) -> str:
    """Return the folder in functions/ of the function that a state calls."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", state).lower()


def handler(state: str) -> Handler:
    """Import the function that a state calls."""
    handle: Handler = import_module(f"functions.{folder(state)}.handler").handle
    return handle


STEPS = in_order(PIPELINE)
"""Validate, Transform and Write, and any steps added between them."""

CALLED = sorted(
    {name for machine in (PIPELINE, BULK) for name, state in machine["States"].items() if state["Type"] == "Task"}
)
"""The states that call a function; those of a chunk are the same under other names."""
