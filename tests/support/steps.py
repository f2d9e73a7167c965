"""The steps of a batch in the state machine, and the functions that its states call."""

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ASL = ROOT / "statemachine" / "pipeline.asl.json"
BULK_ASL = ASL.with_name("bulk.asl.json")

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
    found: Handler = import_module(f"functions.{folder(state)}.handler").handle
    return found


PIPELINE, BULK = (json.loads(file.read_text(encoding="utf-8")) for file in (ASL, BULK_ASL))
STEPS = in_order(PIPELINE)
"""Validate, Transform and Write, and any steps added between them."""

CALLED = sorted(
    {name for found in (PIPELINE, BULK) for name, state in found["States"].items() if state["Type"] == "Task"}
)
"""The states that call a function; those of a chunk are the same under other names."""
