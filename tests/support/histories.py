"""The histories of executions in tests/histories, as boto3 gives them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "histories"


def events(name: str) -> list[Any]:
    """Read the events of a history."""
    history = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))["events"]
    return [event | {"timestamp": datetime.fromisoformat(event["timestamp"])} for event in history]
